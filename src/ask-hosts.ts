// Asks several hosts at once which of them is the primary: whether they are in recovery, and which timeline they write. Of two
// primaries the one of the later timeline is right; the other was left behind by a promotion. So a host that says nothing
// holds nobody up, and the order in the URL means nothing.
//
// Connections for this question live for one answer, and keep no process alive.
import { connect, type Socket } from 'node:net'
import postgres from 'postgres'
import { cutOff, sockets } from './cut-off.js'
import { fromDatabase } from './database-errors.js'
import { queryOf } from './driver.js'
import { DueqError } from './errors.js'
import type { Host } from './hosts.js'
import { saying } from './options.js'
import { isStandby, type Timeline, timelineOf } from './statements-server.js'

/** How to reach a host, other than by host and port. */
export type Access = { readonly url?: string | undefined; readonly options?: object | undefined }

/** How long a host may take to answer, in ms: five round trips, with TLS, and a server that starts. */
export const answerWithinMs = 5_000

/** A host that says it is the primary. */
export type Found = { readonly host: Host; readonly timeline: Timeline | undefined }

/**
 * The primary of the latest timeline. One that is known and as good is waited for, though it is slow.
 * Raises `database.*` where there is none.
 */
export async function askAll(hosts: readonly Host[], access: Access, known: Found | undefined): Promise<Found> {
  const given = new AbortController()
  const found: Found[] = []
  const refusals: Refusal[] = []
  const best = (): Found | undefined =>
    found.reduce<Found | undefined>((a, b) => (a && !isLater(b, a) ? a : b), undefined)
  const isEnough = (): boolean => {
    const first = best()
    const isPending = (host: Host): boolean => ![...found, ...refusals].some((one) => one.host === host)
    return first !== undefined && !(known && isPending(known.host) && !isLater(first, known))
  }
  let grace: NodeJS.Timeout | undefined
  try {
    await new Promise<void>((resolve) => {
      const heard = (): void => {
        if (found.length + refusals.length === hosts.length) resolve()
        else if (isEnough()) grace ??= setTimeout(resolve, graceMs)
      }
      for (const host of hosts)
        void askOne(host, access, given.signal)
          .then(
            (timeline) => {
              const one = { host, timeline }
              if (known && isLater(known, one)) refusals.push({ host, error: leftBehind(known) })
              else found.push(one)
            },
            (error: unknown) => refusals.push({ host, error: fromDatabase(error) }),
          )
          .then(heard)
    })
    const first = best()
    if (!first) throw noPrimary(refusals.sort((a, b) => hosts.indexOf(a.host) - hosts.indexOf(b.host)))
    const same = found.find(({ host }) => host === known?.host)
    return same && !isLater(first, same) ? same : first
  } finally {
    clearTimeout(grace)
    given.abort()
  }
}

// --- internal ---

/** How long the others may still answer once a primary has, in ms. */
const graceMs = 100

type Refusal = { readonly host: Host; readonly error: DueqError }

/** The timeline that a primary writes; undefined where that cannot be known. Rejects where the host is no primary. */
async function askOne(
  { host, port }: Host,
  { url, options }: Access,
  givenUp: AbortSignal,
): Promise<Timeline | undefined> {
  let isOpened = false
  const open = (): Socket => {
    // A connection that is closed at once the driver would try again, hundreds of times a second.
    if (isOpened) throw new DueqError('database.unreachable', 'it accepts connections and closes them')
    isOpened = true
    return Object.assign(connect(port, host).unref(), { host, port })
  }
  const own = {
    host: [host],
    port: [port],
    path: false,
    max: 1,
    prepare: false,
    fetch_types: false,
    connect_timeout: 0, // it would keep the process alive
    max_lifetime: null,
    target_session_attrs: undefined,
    onnotice: () => {},
    onclose: () => {},
    connection: { application_name: 'dueq host' },
    socket: sockets(open),
  }
  const given = { ...options, ...own } as unknown as postgres.Options<never>
  const sql = url === undefined ? postgres(given) : postgres(url, given)
  let timer: NodeJS.Timeout | undefined
  const late = new Promise<never>((_, reject) => {
    timer = setTimeout(
      () => reject(new DueqError('timeout', `no answer within ${answerWithinMs} ms`)),
      answerWithinMs,
    ).unref()
    givenUp.addEventListener('abort', () => reject(new DueqError('timeout', 'no answer')), { once: true })
  })
  try {
    const query = queryOf(sql)
    if (await Promise.race([isStandby(query), late]))
      throw new DueqError('database.read_only', 'a standby, which takes no writes')
    return await Promise.race([timelineOf(query).catch(() => undefined), late])
  } finally {
    clearTimeout(timer)
    void cutOff(sql)
  }
}

function isLater(a: Found, b: Found): boolean {
  return a.timeline?.system === b.timeline?.system && (a.timeline?.number ?? 0) > (b.timeline?.number ?? 0)
}

function leftBehind({ host, timeline }: Found): DueqError {
  return new DueqError(
    'database.read_only',
    `a primary that was left behind when ${host.host}:${host.port} was promoted (timeline ${timeline?.number})`,
  )
}

/** Where all say the same, that is the matter; else it passes when one of them is promoted or back. */
function noPrimary(refusals: readonly Refusal[]): DueqError {
  const codes = new Set(refusals.map(({ error }) => error.code))
  const code = codes.size === 1 ? refusals[0]!.error.code : 'database.unreachable'
  const each = refusals
    .map(({ host, error }) => `${host.host}:${host.port}: ${saying(error.cause ?? error)}`)
    .join('; ')
  return new DueqError(
    code === 'timeout' ? 'database.unreachable' : code,
    `None of the ${refusals.length} hosts is a primary that answers, and nothing was sent: ${each}.`,
    { details: { hosts: refusals.map(({ host, error }) => ({ ...host, code: error.code })) } },
  )
}
