// Ends a postgres.js instance at once and for good, whatever state its connections are in.
//
// By itself the driver (3.4.9) says goodbye and waits for the answer, which on a silent network never comes, and it tries
// a connection that waits to be tried again after the end as well; where that succeeds it stays for good. Both keep the
// process alive. So dueq makes the sockets, refuses them after the end, and destroys those that are left.
import { connect, type Socket } from 'node:net'
import type { Sql } from 'postgres'

type Open = (options: Address) => Socket | Promise<Socket>

/** What the driver knows of the server when it asks for a socket: hosts and ports side by side, or the path of a socket. */
type Address = { readonly host: readonly string[]; readonly port: readonly number[]; readonly path: string | false }

/** The `socket` option of an instance that is to be cut off. `open`: the user's own way to open one. */
export function sockets(open: Open = opening()): Open {
  const live = new Set<Socket>()
  let isEnded = false
  const end = (): void => {
    isEnded = true
    for (const socket of live) destroy(socket)
  }
  const make: Open = async (options) => {
    const socket = await open(options)
    if (isEnded) socket.destroy()
    // Not by their events: the driver removes all listeners.
    for (const one of live) if (one.destroyed) live.delete(one)
    live.add(socket)
    return socket
  }
  ends.set(make, end)
  return make
}

/** Ends an instance whose `socket` option is from `sockets`, without waiting for statements under way. */
export async function cutOff(sql: Sql): Promise<void> {
  await sql.end({ timeout: 0 }).catch(() => {})
  ends.get((sql.options as { readonly socket?: Open }).socket!)?.()
}

// --- internal ---

const ends = new WeakMap<Open, () => void>()

/**
 * Under TLS the driver has taken its listeners from the socket and writes to a TLS socket above it, which closes when this one has.
 * What that had still to write fails in between, and its error comes after its 'close', when the driver listens no more:
 * an uncaught exception, of the application. So the upper one hears first, and closes with nothing left to write.
 */
function destroy(socket: Socket): void {
  const isBelowTls = socket.listenerCount('drain') === 0
  if (isBelowTls) socket.emit('close', false)
  socket.destroy()
}

/** The least time between two rounds over the hosts, in ms. */
const roundMs = 250

/**
 * As the driver opens its own: each try goes to the next host. It may use a socket before that is connected.
 *
 * A connection that is accepted and closed again, as by a load balancer without a server behind it, the driver tries again
 * at once, 700 times a second, for as long as the statement may take. Hence a pause after each round.
 */
function opening(): Open {
  let tries = 0
  let roundAt = Number.NEGATIVE_INFINITY
  return async ({ host, port, path }) => {
    const at = tries++ % port.length
    if (at === 0) {
      const leftMs = roundAt + roundMs - performance.now()
      if (leftMs > 0) await new Promise((resolve) => setTimeout(resolve, leftMs))
      roundAt = performance.now()
    }
    if (path) return connect(path)
    // Marked as the driver marks its own: TLS takes the name of the server from here.
    return Object.assign(connect(port[at]!, host[at]), { host: host[at], port: port[at] })
  }
}
