/**
 * A TCP proxy before the test server that can freeze: connections stay open, and nothing passes.
 *
 * That is what a black-holed network looks like, which no driver notices by itself.
 */
import { connect, createServer, type Server, type Socket } from 'node:net'

export type Proxy = {
  /** The URL of the server, through the proxy. */
  readonly url: string
  freeze(): void
  thaw(): void
  /** Refuses connections and cuts those that are open, until `listen`. */
  cut(): Promise<void>
  listen(): Promise<void>
  [Symbol.asyncDispose](): Promise<void>
}

export async function startProxy(target: string): Promise<Proxy> {
  const { hostname, port } = new URL(target)
  const sockets = new Set<Socket>()
  let isFrozen = false
  let server: Server
  let ownPort = 0
  const open = (): Promise<void> =>
    new Promise((resolve) => {
      server = createServer((near) => {
        const far = connect(Number(port || 5432), hostname)
        for (const socket of [near, far]) {
          sockets.add(socket)
          socket.on('error', () => {})
          socket.on('close', () => {
            sockets.delete(socket)
            near.destroy()
            far.destroy()
          })
        }
        near.on('data', (chunk) => far.write(chunk))
        far.on('data', (chunk) => near.write(chunk))
        if (isFrozen) for (const socket of [near, far]) socket.pause()
      })
      server.listen(ownPort, '127.0.0.1', () => {
        ownPort = (server.address() as { port: number }).port
        resolve()
      })
    })
  const cut = (): Promise<void> =>
    new Promise((resolve) => {
      server.close(() => resolve())
      for (const socket of sockets) socket.destroy()
    })
  await open()
  return {
    url: Object.assign(new URL(target), { hostname: '127.0.0.1', port: String(ownPort) }).href,
    freeze() {
      isFrozen = true
      for (const socket of sockets) socket.pause()
    },
    thaw() {
      isFrozen = false
      for (const socket of sockets) socket.resume()
    },
    cut,
    listen: open,
    [Symbol.asyncDispose]: cut,
  }
}
