// The connections that dueq opens for statements: a few, each opened when one is wanted and none is free. Closed by whoever asked
// for them.
//
//   free -- statement --> busy -- answered --> free
//                          `-- lost, or no answer within the deadline --> cut off, and a fresh one when it is wanted
//
// Invariants: every statement has a deadline, the wait for a free connection included. A connection carries one statement
// at a time, so that one that hangs or breaks takes no other along, and a statement that still waits has certainly not
// been sent. The driver's own pool sends statements behind each other, and notices no connection that went silent.
import postgres from 'postgres'
import { cutOff, sockets } from './cut-off.js'
import { fromDatabase, readOnlyError } from './database-errors.js'
import { type Query, queryOf } from './driver.js'
import { DueqError, isDueqError } from './errors.js'
import type { Primary } from './primary.js'

/** Where statements run: given by the user, or a URL to connect to. */
export type Source =
  | {
      readonly url: string
      readonly max: number
      readonly prepare: boolean
      /** Where the URL had several hosts. */
      readonly primary?: Primary | undefined
    }
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

// --- internal ---

/** A place for a connection: the driver's pool of one, which reconnects by itself after an idle connection was lost. */
type Place = { sql: postgres.Sql | undefined; run: Query | undefined }

/** A statement that waits for a connection. */
type Waiting = {
  readonly resolve: (place: Place) => void
  readonly reject: (error: DueqError) => void
  readonly timer: NodeJS.Timeout
}

/** After how long without an answer the hosts are asked for the primary, again and again, in ms. */
const silentMs = 3_000

/** Errors after which another connection may do better. */
const isOfServer = /^database\.(unreachable|read_only|credentials|not_found)$/

type Own = Exclude<Source, { readonly shared: unknown }>

function ownPool({ url, max, prepare, primary }: Own, deadlineMs: number): Pool {
  const places: Place[] = []
  // The place used last is used first: its connection is up, and its statements are prepared.
  const free: Place[] = []
  const waiting = new Set<Waiting>()
  const waitingAhead = new Set<Waiting>()
  let isClosed = false

  const open = (place: Place): postgres.Sql => {
    const cut = (): void => {
      if (place.sql === sql) drop(place)
    }
    const sql = postgres(url, {
      max: 1,
      prepare,
      fetch_types: false,
      connect_timeout: Math.ceil(Math.min(deadlineMs, 10_000) / 1000),
      // Whoever asks tries again in a rhythm of its own: the driver's would keep it away from a server that is back.
      backoff: () => 0,
      onnotice: () => {},
      connection: { application_name: 'dueq' },
      socket: sockets(primary?.opener(cut)),
    } as postgres.Options<never>)
    return sql
  }
  const take = (deadline: number, line: Set<Waiting>): Place | Promise<Place> => {
    const place = free.pop()
    if (place) return place
    if (places.length < max) {
      const added: Place = { sql: undefined, run: undefined }
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
    place.sql = place.run = undefined
  }
  // What a connection learned of its server holds for those that wait beside it.
  const dropFree = (): void => {
    for (const place of free) drop(place)
  }

  const queryIn =
    (line: Set<Waiting>): Query =>
    async (text, params, _onLate, earlier = Infinity) => {
      if (isClosed) throw closedError()
      const deadline = Math.min(performance.now() + deadlineMs, earlier)
      const taken = take(deadline, line)
      const place = taken instanceof Promise ? await taken : taken
      let looking: NodeJS.Timeout | undefined
      try {
        if (isClosed) throw closedError()
        // With a hundredth of its time left a statement would hardly be answered, and its outcome be unknown.
        if (performance.now() + deadlineMs / 100 >= deadline) throw busyError(deadlineMs, max)
        place.sql ??= open(place)
        place.run ??= queryOf(place.sql)
        // A primary that says nothing may be one no more; others know.
        looking = primary && setInterval(primary.look, silentMs)
        return await within(deadline - performance.now(), deadlineMs, place.run(text, params))
      } catch (cause) {
        const error = fromDatabase(cause)
        const isReadOnly = error.code === 'database.read_only'
        const reported: Readonly<Record<string, unknown>> = { ...place.sql?.parameters }
        if (error.isOutcomeUnknown || isOfServer.test(error.code)) {
          drop(place)
          primary?.doubt()
        }
        // A server that has become a standby takes no writes any more: the next connection may find the primary.
        if (isReadOnly) dropFree()
        throw isReadOnly && !isDueqError(cause) ? readOnlyError(error, reported['in_hot_standby']) : error
      } finally {
        clearInterval(looking)
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
  const query: Query = async (text, params, onLate, earlier = Infinity) => {
    if (isClosed) throw closedError()
    try {
      const ms = Math.min(deadlineMs, earlier - performance.now())
      return await within(ms, deadlineMs, run(text, params), onLate)
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
      .then((value) => {
        clearTimeout(timer)
        if (isLate) onLate(value)
        else resolve(value)
      })
      .catch((error: unknown) => {
        clearTimeout(timer)
        reject(error) // of a late answer nobody hears
      })
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
