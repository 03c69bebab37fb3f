// What dueq asks of a connection: run one statement with text parameters, give rows as arrays of text. Everything else
// (pools, transactions, types, transforms) stays with the driver that the user chose.
//
// Columns are read by position and every column is cast to text in the statement, so neither camel-case transforms nor
// bigint, date or JSON parsers of a shared connection can change what dueq reads.
import { fromDatabase } from './database-errors.js'
import { DueqError } from './errors.js'

/** One row: the columns in the order of the statement, as text. */
export type Row = readonly (string | null)[]

/**
 * Runs one statement. The internal form of every connection. `onLate` gets the rows of a statement that was given up at its
 * deadline and answered all the same. A pool gives it up at `deadline` (of `performance.now()`), if that comes before its own.
 */
export type Query = (
  text: string,
  params: readonly (string | null)[],
  onLate?: (rows: readonly Row[]) => void,
  deadline?: number,
) => Promise<readonly Row[]>

/** A postgres.js instance or transaction. */
export type PostgresJs = { readonly unsafe: (text: string, params?: never[], options?: never) => unknown }

/** A `pg` Client, PoolClient or Pool, or anything with the same `query`. */
export type PgQueryable = { readonly query: (...args: never[]) => unknown }

/**
 * Any other driver: runs the text with `$1 …` parameters (all of them strings or null), gives the rows as arrays or as
 * objects whose keys are in the order of the columns.
 */
export type QueryFunction = (text: string, params: (string | null)[]) => PromiseLike<readonly unknown[]>

/** Whatever dueq can run its statements on. A transaction is a connection. */
export type Connection = PostgresJs | PgQueryable | QueryFunction

/** Makes a Query of a connection. Raises `connection.invalid`. `prepare` is for postgres.js only. */
export function queryOf(connection: unknown, prepare = true): Query {
  if (isPostgresJs(connection)) {
    const options = { prepare: connection.options?.prepare ?? prepare }
    const { value, row } = connection.options?.transform ?? {}
    const run = (text: string, params: readonly unknown[]): Promise<unknown> =>
      connection.unsafe(text, [...params], options).values()
    if (!value?.from && !row?.from) return (text, params) => run(text, params) as Promise<Row[]>
    return async (text, params) => ((await run(text, params)) as unknown[]).map(textRow)
  }
  if (isPg(connection))
    return async (text, params) => (await connection.query({ text, values: [...params], rowMode: 'array' })).rows
  if (typeof connection === 'function')
    return async (text, params) => {
      const rows: readonly unknown[] = await connection(text, [...params])
      if (!Array.isArray(rows))
        throw new DueqError(
          'connection.invalid',
          'The query function must give an array of rows, as (text, params) => rows.',
        )
      return rows.map(textRow)
    }
  throw new DueqError(
    'connection.invalid',
    'Expected a postgres.js instance or transaction, a pg client or pool, or a function (text, params) => rows.',
  )
}

/**
 * The Query of a caller's transaction: its errors are those of dueq.
 * Raises `connection.invalid`, also for a whole pool: a statement on that would commit by itself, on any connection.
 */
export function transactionQuery(transaction: unknown, prepare: boolean): Query {
  const isPool = isPostgresJs(transaction) ? 'end' in transaction : isPg(transaction) && 'totalCount' in transaction
  if (isPool)
    throw new DueqError(
      'connection.invalid',
      'Expected a transaction, got a whole pool. Pass the `tx` of `sql.begin(async (tx) => …)`, or the client that said `begin`.',
    )
  const run = isPostgresJs(transaction) ? whileOwned(transaction, prepare) : queryOf(transaction, prepare)
  return async (text, params) => {
    try {
      return await run(text, params)
    } catch (error) {
      throw fromDatabase(error)
    }
  }
}

/** True for a postgres.js instance or transaction: a function with `unsafe`. */
export function isPostgresJs(value: unknown): value is PostgresJsCalls {
  return typeof value === 'function' && hasMethod(value, 'unsafe')
}

/** True for a `pg` client or pool: an object with `query`. */
export function isPg(value: unknown): value is PgCalls {
  return typeof value === 'object' && value !== null && hasMethod(value, 'query')
}

// --- internal ---

/**
 * Runs statements of a postgres.js transaction only while it still has its connection.
 *
 * The driver (3.4.9) lets a transaction whose connection was lost go on: `sql.begin` rejects, but the next statement of its
 * callback goes to whatever the connection serves by then, alone or inside the transaction of somebody else. An ack there
 * is committed without the writes it belongs to, and the message is gone. But statements behind one under way wait with the
 * transaction, and leave only while that owns the connection: hence an empty statement ahead of each.
 *
 * Where the connection is not back yet, the driver writes to no socket at all: of a short statement a moment later, which
 * ends the process and leaves a connection that hangs, but of a long one at once, where the error can be caught. Hence its
 * length; and nothing follows it then.
 *
 * A statement that is left behind never settles in `sql.begin`, so that the callback ends there: going on, the driver would
 * send its commit or rollback into the other transaction, or to no socket.
 */
function whileOwned(transaction: PostgresJsCalls, prepare: boolean): Query {
  const isReserved = !('savepoint' in transaction) // then nothing else tells of the loss
  const isLost = (error: unknown): boolean => /^(CONNECTION_CLOSED|E[A-Z]+)$/.test((error as { code: string }).code)
  return (text, params) =>
    new Promise((resolve, reject) => {
      const ahead = transaction.unsafe(emptyStatement, [], { onexecute: () => false }).values()
      const follow = (): void => {
        const statement = transaction.unsafe(text, [...params], { prepare }).values()
        ahead.then(
          () => isReserved && statement.state === null && reject(lostTransaction()),
          (error) => isReserved && reject(error),
        )
        statement.then(
          (rows) => resolve(rows as Row[]),
          (error) => (isReserved || !isLost(error)) && reject(error),
        )
      }
      ahead.handle().then(follow, () => isReserved && reject(lostTransaction()))
      ahead.catch(() => {}) // said by the statement, or by the loss
    })
}

/** From 1,024 bytes on the driver writes at once. */
const emptyStatement = 'select 1'.padEnd(1_024)

function lostTransaction(): DueqError {
  return new DueqError(
    'database.unreachable',
    'The connection of this transaction was lost, and the transaction with it. Run it again.',
  )
}

function hasMethod(value: object, name: string): boolean {
  try {
    return typeof (value as Record<string, unknown>)[name] === 'function'
  } catch {
    return false
  }
}

/** A row of a query function: every column of every statement is text or null. */
function textRow(row: unknown): Row {
  const columns: readonly unknown[] = Array.isArray(row) ? row : Object.values(row ?? {})
  if (
    columns.length > 0 &&
    columns.every((value) => typeof value === 'string' || value === null || value === undefined)
  )
    return columns.map((value) => value ?? null) as Row
  throw new DueqError(
    'connection.invalid',
    'The query function must give each row as an array, or an object, of its columns, which are text or null.',
  )
}

type PostgresJsCalls = {
  readonly options?: {
    readonly prepare?: boolean
    readonly transform?: PostgresJsTransform
    readonly host?: readonly string[]
    readonly port?: readonly number[]
    readonly socket?: unknown
  }
  unsafe(text: string, params: unknown[], options: object): { values(): PostgresJsQuery }
}

/** What the user wants done to values and to rows, null to undefined for example. */
type PostgresJsTransform = { readonly value?: { readonly from?: unknown }; readonly row?: { readonly from?: unknown } }

/** `handle` sends the statement, and rejects where that throws; `state` is null before. */
type PostgresJsQuery = Promise<unknown> & { readonly state: unknown; handle(): Promise<void> }

type PgCalls = {
  readonly options?: Readonly<Record<string, unknown>>
  query(config: { text: string; values: unknown[]; rowMode: 'array' }): Promise<{ rows: Row[] }>
}
