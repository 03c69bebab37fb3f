// The connections that dueq opens itself: a few for statements, each opened when one is wanted and none is free, and the
// options for the connection that listens. Closed by whoever asked for them.
//
//   free -- statement --> busy -- answered --> free
//                          `-- lost, or no answer within the deadline --> cut off, and a fresh one when it is wanted
//
// Invariants: every statement has a deadline, the wait for a free connection included. A connection carries one statement
// at a time, so that one that hangs or breaks takes no other along, and a statement that still waits has certainly not
// been sent. The driver's own pool sends statements behind each other, and notices no connection that went silent.
import postgres from 'postgres'
import { cutOff, sockets } from './cut-off.js'
import { fromDatabase } from './database-errors.js'
import { isPg, isPostgresJs, type Query, queryOf } from './driver.js'
import { DueqError } from './errors.js'

/** Where statements run: given by the user, or a URL to connect to. */
export type Source =
  | { readonly url: string; readonly max: number; readonly prepare: boolean }
  | { readonly shared: unknown }

/** A source of connections with deadlines. */
export type Pool = {
  /** Runs one statement; rejects with a DueqError, with `timeout` after the deadline. */
  readonly query: Query
  /**
   * The same, ahead of all that waits for a connection by `query`: for settles and extensions, which have a lease to lose.
   * They are few (batches, one at a time for each verb), so they starve nobody. On a shared pool there is no difference.
   */
  readonly urgent: Query
  /** Ends the connections that dueq opened; a shared pool is left alone. */
  close(): Promise<void>
}

/** Opens a pool; connects at the first statement. `deadlineMs` bounds each statement, connecting included. */
export function openPool(source: Source, deadlineMs: number): Pool {
  return 'shared' in source ? sharedPool(queryOf(source.shared), deadlineMs) : ownPool(source, deadlineMs)
}

/** Options for a postgres.js connection to the same database as a pool, or undefined where they cannot be known. */
export function listenSource(source: Source, listenUrl: string | undefined): ListenSource | undefined {
  if (listenUrl !== undefined) return { url: listenUrl }
  if ('url' in source) return { url: source.url }
  const { shared } = source
  if (isPostgresJs(shared) && shared.options) return { options: shared.options as object }
  if (isPg(shared) && shared.options) return fromPgOptions(shared.options)
  return undefined
}

/** A URL, or the options of the user's own driver. */
export type ListenSource = { readonly url?: string; readonly options?: object }

/** Opens the one connection that listens. Its owner ends it. */
export function openListener(source: ListenSource): postgres.Sql {
  const own = {
    max: 1,
    idle_timeout: 0,
    fetch_types: false,
    connect_timeout: 10,
    onnotice: () => {},
    connection: { application_name: 'dueq listen' },
    socket: sockets((source.options as { readonly socket?: never } | undefined)?.socket),
  }
  const options = { ...source.options, ...own } as postgres.Options<never>
  return source.url === undefined ? postgres(options) : postgres(source.url, options)
}

// --- internal ---

/** A place for a connection: the driver's pool of one, which reconnects by itself after an idle connection was lost. */
type Place = { sql: postgres.Sql | undefined }

/** A statement that waits for a connection. */
type Waiting = {
  readonly resolve: (place: Place) => void
  readonly reject: (error: DueqError) => void
  readonly timer: NodeJS.Timeout
}

type Own = Exclude<Source, { readonly shared: unknown }>

function ownPool({ url, max, prepare }: Own, deadlineMs: number): Pool {
  const places: Place[] = []
  // The place used last is used first: its connection is up, and its statements are prepared.
  const free: Place[] = []
  const waiting = new Set<Waiting>()
  const waitingAhead = new Set<Waiting>()
  let isClosed = false

  const open = (): postgres.Sql =>
    postgres(url, {
      max: 1,
      prepare,
      fetch_types: false,
      connect_timeout: Math.ceil(Math.min(deadlineMs, 10_000) / 1000),
      // Whoever asks tries again in a rhythm of its own: the driver's would keep it away from a server that is back.
      backoff: () => 0,
      onnotice: () => {},
      connection: { application_name: 'dueq' },
      socket: sockets(),
    } as postgres.Options<never>)
  const take = (deadline: number, line: Set<Waiting>): Place | Promise<Place> => {
    const place = free.pop()
    if (place) return place
    if (places.length < max) {
      const added: Place = { sql: undefined }
      places.push(added)
      return added
    }
    return new Promise((resolve, reject) => {
      const timer = setTimeout(() => {
        line.delete(entry)
        reject(busyError(deadlineMs, max))
      }, deadline - performance.now())
      const entry: Waiting = { resolve, reject, timer }
      line.add(entry)
    })
  }
  const nextWaiting = (): Waiting | undefined => {
    const line = waitingAhead.size > 0 ? waitingAhead : waiting
    const [entry] = line
    if (!entry) return undefined
    line.delete(entry)
    clearTimeout(entry.timer)
    return entry
  }
  const giveBack = (place: Place): void => {
    const next = nextWaiting()
    if (next) next.resolve(place)
    // One that could not connect is used last: on top it would fail every statement, with a good one idle below.
    else if (place.sql) free.push(place)
    else free.unshift(place)
  }
  const drop = (place: Place): void => {
    if (place.sql) void cutOff(place.sql)
    place.sql = undefined
  }

  const queryIn =
    (line: Set<Waiting>): Query =>
    async (text, params) => {
      if (isClosed) throw closedError()
      const deadline = performance.now() + deadlineMs
      const place = await take(deadline, line)
      try {
        if (isClosed) throw closedError()
        if (performance.now() >= deadline) throw busyError(deadlineMs, max)
        place.sql ??= open()
        return await within(deadline - performance.now(), deadlineMs, queryOf(place.sql)(text, params))
      } catch (cause) {
        const error = fromDatabase(cause)
        // A server that has become a standby takes no writes any more: the next connection may find the primary.
        if (error.isOutcomeUnknown || /^database\.(unreachable|read_only)$/.test(error.code)) drop(place)
        throw error
      } finally {
        giveBack(place)
      }
    }

  return {
    query: queryIn(waiting),
    urgent: queryIn(waitingAhead),
    async close() {
      isClosed = true
      for (let entry = nextWaiting(); entry; entry = nextWaiting()) entry.reject(closedError())
      await Promise.all(places.map(({ sql }) => sql && end(sql)))
    },
  }
}

/** Lets statements under way come to their end, for a second at most. */
async function end(sql: postgres.Sql): Promise<void> {
  await sql.end({ timeout: 1 }).catch(() => {})
  await cutOff(sql)
}

/** The user's connections: dueq adds a deadline to its statements, and otherwise leaves them alone. */
function sharedPool(run: Query, deadlineMs: number): Pool {
  let isClosed = false
  const query: Query = async (text, params, onLate) => {
    if (isClosed) throw closedError()
    try {
      return await within(deadlineMs, deadlineMs, run(text, params), onLate)
    } catch (error) {
      throw fromDatabase(error)
    }
  }
  return {
    query,
    urgent: query,
    async close() {
      isClosed = true
    },
  }
}

/** The answer, or `timeout` where it takes longer; then it goes to `onLate` when it comes. */
function within<T>(
  ms: number,
  deadlineMs: number,
  answer: Promise<T>,
  onLate: (answer: T) => void = () => {},
): Promise<T> {
  return new Promise((resolve, reject) => {
    let isLate = false
    const timer = setTimeout(() => {
      isLate = true
      reject(silentError(deadlineMs))
    }, ms)
    answer
      .then((value) => (isLate ? onLate(value) : resolve(value)))
      .catch(reject) // of a late answer nobody hears
      .finally(() => clearTimeout(timer))
  })
}

function closedError(): DueqError {
  return new DueqError('client.closed', 'This dueq client is closed.')
}

function silentError(deadlineMs: number): DueqError {
  return new DueqError(
    'timeout',
    `The database gave no answer within ${deadlineMs} ms; whether the statement took effect is unknown.`,
    { isOutcomeUnknown: true },
  )
}

function busyError(deadlineMs: number, max: number): DueqError {
  return new DueqError(
    'timeout',
    `None of the ${max} connections became free within ${deadlineMs} ms; nothing was sent. Look for slow statements, or raise \`max\`.`,
  )
}

/** The options of a `pg` pool in the words of postgres.js. */
function fromPgOptions(options: Readonly<Record<string, unknown>>): ListenSource {
  const { connectionString, host, port, user, password, database, ssl } = options
  const given = Object.entries({ host, port, user, password, database, ssl }).filter(([, value]) => value !== undefined)
  return {
    url: typeof connectionString === 'string' ? connectionString : undefined,
    options: Object.fromEntries(given),
  }
}
