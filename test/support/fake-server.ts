/**
 * TCP servers where a PostgreSQL should be: one that accepts and says nothing, one that accepts and closes, one that
 * refuses with an error.
 */
import { createServer, type Socket } from 'node:net'

export type FakeServer = {
  readonly url: string
  /** How many connections were made so far. */
  readonly connectionCount: number
  [Symbol.asyncDispose](): Promise<void>
}

/** Accepts connections and never answers. */
export function startSilent(): Promise<FakeServer> {
  return start(() => {})
}

/** Accepts connections and closes them at once, as a load balancer without a server behind it does. */
export function startClosing(): Promise<FakeServer> {
  return start((socket) => socket.end())
}

/** Answers every startup packet with a fatal error of this SQLSTATE. */
export function startRefusing(sqlState: string, text: string): Promise<FakeServer> {
  return start((socket) => {
    socket.once('data', () => {
      const fields = [`SFATAL`, 'VFATAL', `C${sqlState}`, `M${text}`].map((field) => `${field}\0`).join('')
      const body = Buffer.from(`${fields}\0`)
      const head = Buffer.alloc(5)
      head.write('E')
      head.writeInt32BE(body.length + 4, 1)
      socket.end(Buffer.concat([head, body]))
    })
  })
}

// --- internal ---

function start(onConnection: (socket: Socket) => void): Promise<FakeServer> {
  const sockets = new Set<Socket>()
  let connectionCount = 0
  return new Promise((resolve) => {
    const server = createServer((socket) => {
      connectionCount++
      sockets.add(socket.on('error', () => {}))
      socket.once('close', () => sockets.delete(socket))
      onConnection(socket)
    })
    server.listen(0, '127.0.0.1', () => {
      const { port } = server.address() as { port: number }
      resolve({
        url: `postgres://user:password@127.0.0.1:${port}/database`,
        get connectionCount() {
          return connectionCount
        },
        [Symbol.asyncDispose]: () =>
          new Promise((closed) => {
            server.close(() => closed())
            for (const socket of sockets) socket.destroy()
          }),
      })
    })
  })
}
