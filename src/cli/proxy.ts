/**
 * A TCP proxy before a server that can do what networks do.
 *
 *   freeze  connections stay open and nothing passes, or one way only: a black hole, which no driver notices by itself
 *   vanish  the server has closed its side, and the client is not told: a half-open connection
 *   slow    everything arrives later, in order
 *   cut     connections are closed
 *   refuse  new connections are refused; open ones go on
 *
 * All but refusing can be had for the connections of one application only, where no TLS hides its name. What passes it does
 * not look into otherwise, so TLS goes through; a client that verifies the name of the server finds that of the proxy.
 */
import { connect, createServer, type Server, type Socket } from 'node:net'

/** Which connections, by the `application_name` that they gave, and which way; all of them both ways by default. */
export type Which = { readonly application?: string; readonly way?: 'toServer' | 'toClient' }

export type TcpProxy = {
  /** The URL of the server, through the proxy. */
  readonly url: string
  /** What happened so far. */
  readonly counts: ProxyCounts
  /** Where new connections go; those that are open stay where they are. */
  lead(target: string): void
  freeze(which?: Which): void
  /** Ends all freezing; what was held back arrives. */
  thaw(): void
  /** Delays what passes from now on, each way. */
  slow(latencyMs: number, which?: Which): void
  vanish(which?: Which): void
  /** Answers how many connections were cut. */
  cut(which?: Which): number
  refuse(): void
  /** Ends refusing. */
  accept(): Promise<void>
  [Symbol.asyncDispose](): Promise<void>
}

export type ProxyCounts = {
  /** Connections accepted. */
  connections: number
  /** Bytes that were held back, or lost with their connection, where their way was frozen; counted at the end of that. */
  heldBytes: number
  /** Packets that were delayed. */
  slowed: number
}

export async function startProxy(target: string): Promise<TcpProxy> {
  let { hostname, port } = new URL(target)
  const counts: ProxyCounts = { connections: 0, heldBytes: 0, slowed: 0 }
  const links = new Set<Link>()
  let rules: Rule[] = []
  let server: Server | undefined
  let ownPort = 0

  const onConnection = (near: Socket): void => {
    counts.connections++
    const link = createLink(near, connect(Number(port || 5432), hostname), counts, (named) => {
      for (const { which, act } of rules) for (const lane of lanesOf(named, which)) act(lane)
    })
    links.add(link)
    near.on('close', () => links.delete(link))
  }
  const accept = async (): Promise<void> => {
    server ??= await listen(ownPort, onConnection)
    ownPort = (server.address() as { readonly port: number }).port
  }
  const matching = ({ application }: Which): Link[] =>
    [...links].filter((link) => application === undefined || application === link.application)
  const apply = (rule: Rule): void => {
    for (const link of links) for (const lane of lanesOf(link, rule.which)) rule.act(lane)
    rules.push(rule)
  }
  const cut = (which: Which = {}): number => {
    const cutting = matching(which)
    for (const link of cutting) link.close()
    return cutting.length
  }

  await accept()
  return {
    url: Object.assign(new URL(target), { hostname: '127.0.0.1', port: String(ownPort) }).href,
    counts,
    lead(next) {
      ;({ hostname, port } = new URL(next))
    },
    freeze: (which = {}) => apply({ which, act: (lane) => lane.hold(), isFreeze: true }),
    thaw() {
      rules = rules.filter(({ isFreeze }) => !isFreeze)
      for (const { toServer, toClient } of links) for (const lane of [toServer, toClient]) lane.release()
    },
    slow: (latencyMs, which = {}) =>
      apply({ which, act: (lane) => Object.assign(lane, { latencyMs }), isFreeze: false }),
    vanish(which = {}) {
      for (const link of matching(which)) link.vanish()
    },
    cut,
    refuse() {
      server?.close()
      server = undefined
    },
    accept,
    async [Symbol.asyncDispose]() {
      server?.close()
      cut()
    },
  }
}

// --- internal ---

/** One way of a connection. */
type Lane = {
  latencyMs: number
  hold(): void
  /** Adds what is held to the counts. */
  count(): void
  release(): void
}

type Rule = { readonly which: Which; readonly act: (lane: Lane) => void; readonly isFreeze: boolean }

type Link = {
  /** Known from its first packet on. */
  readonly application: string | undefined
  readonly toServer: Lane
  readonly toClient: Lane
  vanish(): void
  close(): void
}

function lanesOf(link: Link, { application, way }: Which): readonly Lane[] {
  if (application !== undefined && application !== link.application) return []
  return way ? [link[way]] : [link.toServer, link.toClient]
}

/** Joins two sockets; `onNamed` is called before the first packet of the client passes. */
function createLink(near: Socket, far: Socket, counts: ProxyCounts, onNamed: (link: Link) => void): Link {
  let application: string | undefined
  let hasVanished = false
  const close = (): void => {
    if (!near.destroyed && !far.destroyed) for (const lane of [link.toServer, link.toClient]) lane.count()
    near.destroy()
    far.destroy()
  }
  near.on('data', (chunk) => {
    // The first packet may ask for TLS; the one that follows the refusal is the startup.
    if (application !== undefined || chunk.length === 8) return
    application = /application_name\0([^\0]*)\0/.exec(chunk.toString('latin1'))?.[1] ?? ''
    onNamed(link)
  })
  const link: Link = {
    get application() {
      return application
    },
    toServer: createLane(near, far, counts),
    toClient: createLane(far, near, counts),
    vanish() {
      hasVanished = true
      far.destroy()
    },
    close,
  }
  near.on('error', close).on('close', close)
  far.on('error', () => {})
  far.on('close', () => hasVanished || setTimeout(close, link.toClient.latencyMs))
  return link
}

function createLane(from: Socket, to: Socket, counts: ProxyCounts): Lane {
  const held: Buffer[] = []
  let isHeld = false
  // What was delayed is still on its way when the network is fast again: nothing may pass it.
  const delayed: Buffer[] = []
  let lastDueAt = 0
  const pass = (chunk: Buffer): void => {
    if (lane.latencyMs === 0 && delayed.length === 0) return void to.write(chunk)
    counts.slowed++
    delayed.push(chunk)
    const now = performance.now()
    lastDueAt = Math.max(now + lane.latencyMs, lastDueAt)
    setTimeout(() => to.write(delayed.shift()!), lastDueAt - now)
  }
  from.on('data', (chunk: Buffer) => (isHeld ? held.push(chunk) : pass(chunk)))
  const lane: Lane = {
    latencyMs: 0,
    // Not read, so that a goodbye is not heard either.
    hold() {
      isHeld = true
      from.pause()
    },
    count() {
      if (isHeld) counts.heldBytes += held.reduce((sum, { length }) => sum + length, from.readableLength)
    },
    release() {
      lane.count()
      isHeld = false
      for (const chunk of held.splice(0)) pass(chunk)
      from.resume()
    },
  }
  return lane
}

function listen(port: number, onConnection: (near: Socket) => void): Promise<Server> {
  return new Promise((resolve, reject) => {
    const server = createServer(onConnection).once('error', reject)
    server.listen(port, '127.0.0.1', () => resolve(server))
  })
}
