// Which of several hosts is the primary, and the sockets to it.
//
//   unknown -- all are asked --> known -- something failed, or is silent --> in doubt -- all are asked --> known, or moved
//
// Invariants: dueq connects to the primary only. When that moves, connections to other hosts are cut off, and
// statements under way there have an unknown outcome. A host that still is the primary is never left because it is slow. The driver's
// own way over the hosts would try each for its whole connect time-out, and tell no error while it does.
import { connect, type Socket } from 'node:net'
import { type Access, answerWithinMs, askAll, type Found } from './ask-hosts.js'
import { type Host, hostsOf } from './hosts.js'

/** The primary of several hosts. */
export type Primary = {
  /** The primary as a socket would go to. Raises the same. Keeps no process alive. */
  find(): Promise<Host>
  /**
   * Opens sockets to the primary. The hosts are asked where that is not known, or in doubt; where none is the primary that
   * raises `database.*`, and nothing was sent. `cut` ends the connection of such a socket when the primary is another.
   */
  opener(cut: () => void): () => Promise<Socket>
  /** Something failed that may be due to the primary being another by now: the next socket asks. */
  doubt(): void
  /** Asks now, and moves where the primary is another. For statements without an answer. */
  look(): void
}

/** What a URL comes to: one host for the driver, and where it had several the primary of them. Raises `connection.invalid`. */
export function followUrl(given: unknown): { readonly url: string; readonly primary: Primary | undefined } {
  const { url, hosts } = hostsOf(given)
  return { url, primary: hosts.length > 1 ? followPrimary(hosts, { url }) : undefined }
}

/** The URL of one server: of several hosts that of the primary. For a driver that knows of one host only. */
export async function primaryUrl(given: unknown): Promise<string> {
  const { url, hosts, urlOf } = hostsOf(given)
  if (hosts.length < 2) return url
  const alive = setTimeout(() => {}, 2 * answerWithinMs)
  try {
    return urlOf(await followPrimary(hosts, { url }).find())
  } finally {
    clearTimeout(alive)
  }
}

/** Follows the primary of these hosts. */
export function followPrimary(hosts: readonly Host[], access: Access): Primary {
  const live = new Map<Socket, { readonly host: Host; cut(): void }>()
  let known: Found | undefined
  let isDoubtful = false
  let asking: Promise<Found> | undefined
  let askedAt = Number.NEGATIVE_INFINITY

  const move = (to: Found): void => {
    const isMoved = known !== undefined && known.host !== to.host
    known = to
    isDoubtful = false
    if (!isMoved) return
    // By their owners: a driver that does not know writes to a TLS connection whose socket is gone, and the process ends.
    for (const [socket, { host, cut }] of live) if (host !== to.host && !socket.destroyed) cut()
  }
  const ask = async (): Promise<Found> => {
    try {
      const leftMs = askedAt + roundMs - performance.now()
      if (leftMs > 0) await pause(leftMs)
      const found = await askAll(hosts, access, known)
      move(found)
      return found
    } finally {
      askedAt = performance.now()
      asking = undefined
    }
  }
  const find = async (): Promise<Host> => {
    if (known && !isDoubtful) return known.host
    asking ??= ask()
    return (await asking).host
  }
  return {
    find,
    opener: (cut) => async () => {
      const host = await find()
      // Marked as the driver marks its own: TLS takes the name of the server from here.
      const socket = Object.assign(connect(host.port, host.host), host)
      for (const one of live.keys()) if (one.destroyed) live.delete(one)
      live.set(socket, { host, cut })
      socket.once('close', () => {
        isDoubtful = true
      })
      return socket
    },
    doubt() {
      isDoubtful = true
    },
    look() {
      isDoubtful = true
      find().catch(() => {}) // the statement has its own deadline
    },
  }
}

// --- internal ---

/** The least time between two rounds over the hosts, in ms. */
const roundMs = 250

function pause(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms))
}
