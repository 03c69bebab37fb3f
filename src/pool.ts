// The connections that dueq opens itself: a small postgres.js pool for statements, and the options for the connection
// that listens. Opened at first use; closed by whoever asked for it.
//
// Invariant: every statement has a deadline. The driver never notices a connection that went silent, so a pool in which a
// statement timed out is replaced by a fresh one, and the old one is cut off with whatever still hangs in it.
import postgres from 'postgres'
import { isPg, isPostgresJs, type Query, queryOf } from './driver.js'
import { DueqError, fromDatabase } from './errors.js'

/** Where statements run: given by the user, or a URL to connect to. */
export type Source =
  | { readonly url: string; readonly max: number; readonly prepare: boolean }
  | { readonly shared: unknown }

/** A source of connections with deadlines. */
export type Pool = {
  /** Runs one statement; rejects with a DueqError, with `timeout` after the deadline (then the outcome is unknown). */
  readonly query: Query
  /** Ends the connections that dueq opened; a shared pool is left alone. */
  close(): Promise<void>
}

/** Opens a pool; connects at the first statement. `deadlineMs` bounds each statement, connecting included. */
export function openPool(source: Source, deadlineMs: number): Pool {
  let isClosed = false
  const refuseClosed = (): void => {
    if (isClosed) throw new DueqError('client.closed', 'This dueq client is closed.')
  }
  if ('shared' in source) {
    const run = bounded(queryOf(source.shared), deadlineMs, () => {})
    return {
      async query(text, params) {
        refuseClosed()
        return run(text, params)
      },
      async close() {
        isClosed = true
      },
    }
  }

  const open = (): postgres.Sql =>
    postgres(source.url, {
      max: source.max,
      prepare: source.prepare,
      fetch_types: false,
      connect_timeout: Math.ceil(Math.min(deadlineMs, 10_000) / 1000),
      // Seconds between tries to connect: the driver's own 20 would keep consumers away from a server that is back.
      backoff: (retries: number) => Math.min(3 ** retries / 100, 1) * (0.5 + Math.random() / 2),
      onnotice: () => {},
      connection: { application_name: 'dueq' },
    })
  let sql: postgres.Sql | undefined

  const replace = (broken: postgres.Sql | undefined): void => {
    if (!broken || broken !== sql) return
    sql = undefined
    broken.end({ timeout: 0 }).catch(() => {})
  }
  const query: Query = (text, params) => {
    refuseClosed()
    sql ??= open()
    const used = sql
    return bounded(queryOf(used), deadlineMs, () => replace(used))(text, params)
  }
  return {
    query,
    async close() {
      isClosed = true
      await sql?.end({ timeout: 1 }).catch(() => {})
    },
  }
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
  }
  const options = { ...source.options, ...own } as postgres.Options<never>
  return source.url === undefined ? postgres(options) : postgres(source.url, options)
}

// --- internal ---

function bounded(query: Query, deadlineMs: number, onTimeout: () => void): Query {
  return (text, params) =>
    new Promise((resolve, reject) => {
      const timer = setTimeout(() => {
        onTimeout()
        reject(
          new DueqError(
            'timeout',
            `The database gave no answer within ${deadlineMs} ms; whether the statement took effect is unknown.`,
          ),
        )
      }, deadlineMs)
      // In a turn of its own, so that a driver that throws at once rejects like any other.
      Promise.resolve()
        .then(() => query(text, params))
        .then(resolve, (error: unknown) => reject(fromDatabase(error)))
        .finally(() => clearTimeout(timer))
    })
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
