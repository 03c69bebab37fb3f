// Every error that dueq throws is a DueqError with a `code`; match on the code, never on the text. The text says what
// happened, to which object, and what to do about it. The code of a database error follows its SQLSTATE alone.

/** The codes of all errors. `docs/errors.md` lists each with its cause and remedy. */
export type DueqErrorCode =
  | 'option.invalid'
  | 'option.unknown'
  | 'duration.invalid'
  | 'instant.invalid'
  | 'delay.and_at'
  | 'queue.invalid_name'
  | 'queue.unknown'
  | 'queue.not_empty'
  | 'payload.not_json'
  | 'payload.too_large'
  | 'payload.rejected'
  | 'headers.invalid'
  | 'message.settled'
  | 'lease.lost'
  | 'connection.invalid'
  | 'client.closed'
  | 'consumer.stopped'
  | 'aborted'
  | 'timeout'
  | 'enqueue.incomplete'
  | 'database.unreachable'
  | 'database.credentials'
  | 'database.not_found'
  | 'database.permission'
  | 'database.full'
  | 'database.error'
  | 'lock.timeout'
  | 'transaction.conflict'
  | 'transaction.aborted'
  | 'schema.missing'
  | 'schema.older'
  | 'schema.newer'
  | 'migration.failed'
  | 'migration.files_missing'
  | 'file.unreadable'
  | 'line.invalid'
  | 'usage'
  | 'confirmation.required'
  | 'message.not_found'
  | 'message.leased'
  | 'embedded.unavailable'

/**
 * An error of dueq.
 *
 * `code` is stable and meant for programs; `message` is meant for people and may change. `details` holds the values that
 * the code is about (the queue, the id, the issues of a schema …), `cause` the error of the driver where there was one.
 */
export class DueqError extends Error {
  override readonly name: string = 'DueqError'
  readonly code: DueqErrorCode
  readonly details: Readonly<Record<string, unknown>>
  /**
   * True where a statement was sent and no answer came: it may have taken effect, and may do so yet. False: it has not.
   * To repeat an enqueue safely, give it a dedup key. In a transaction of yours nothing takes effect before its commit.
   */
  readonly isOutcomeUnknown: boolean

  constructor(code: DueqErrorCode, message: string, options: DueqErrorOptions = {}) {
    super(message, options.cause === undefined ? undefined : { cause: options.cause })
    this.code = code
    this.details = options.details ?? {}
    this.isOutcomeUnknown = options.isOutcomeUnknown ?? false
  }
}

type DueqErrorOptions = {
  readonly cause?: unknown
  readonly details?: Readonly<Record<string, unknown>>
  readonly isOutcomeUnknown?: boolean
}

/** The lease of a message is lost: it lapsed, or another consumer has the message by now. Code `lease.lost`. */
export class LeaseLostError extends DueqError {
  override readonly name = 'LeaseLostError'

  constructor(id: string, attempt: number, why: string) {
    super(
      'lease.lost',
      `The lease of message ${id}, attempt ${attempt}, is lost: ${why}. Undo what the handler did; the message is delivered again.`,
      { details: { id, attempt } },
    )
  }
}

/** True for a DueqError, also for one that another copy of the package threw. */
export function isDueqError(error: unknown): error is DueqError {
  return error instanceof Error && 'code' in error && (error.name === 'DueqError' || error.name === 'LeaseLostError')
}

const codeOfSqlState: Readonly<Record<string, DueqErrorCode>> = {
  DQ001: 'queue.unknown',
  DQ002: 'option.invalid',
  DQ003: 'payload.too_large',
  DQ004: 'delay.and_at',
  DQ005: 'queue.invalid_name',
  DQ006: 'queue.not_empty',
  '22007': 'instant.invalid',
  '22008': 'instant.invalid',
  '22009': 'instant.invalid',
  '22021': 'option.invalid',
  '22P05': 'payload.not_json',
  '22P02': 'payload.not_json',
  '25P02': 'transaction.aborted',
  '28000': 'database.credentials',
  '28P01': 'database.credentials',
  '3D000': 'database.not_found',
  '3F000': 'schema.missing',
  '42883': 'schema.missing',
  '42P01': 'schema.missing',
  '40001': 'transaction.conflict',
  '40P01': 'transaction.conflict',
  '42501': 'database.permission',
  '53100': 'database.full',
  '53200': 'database.unreachable',
  '53300': 'database.unreachable',
  '55P03': 'lock.timeout',
  '57014': 'timeout',
  '57P01': 'database.unreachable',
  '57P02': 'database.unreachable',
  '57P03': 'database.unreachable',
}

const adviceOf: Partial<Record<DueqErrorCode, string>> = {
  'instant.invalid': "Give an instant that exists, like '2027-01-31T09:00:00Z'.",
  'database.credentials': 'Check the user and password of the connection URL, and pg_hba.conf.',
  'database.not_found': 'Check the database name of the connection URL, or create the database.',
  'database.permission': 'Grant the role the rights it needs, or connect as another role.',
  'database.full': 'Free disk space on the database server; nothing was written.',
  'database.unreachable': 'Check that PostgreSQL is running and that host and port are right.',
  'schema.missing': 'Run `npx dueq migrate` against this database (and check the `schema` option).',
  'lock.timeout': 'Another transaction holds the row; nothing was changed. Try again.',
  'transaction.conflict': 'Roll the transaction back and run it again.',
  'transaction.aborted': 'An earlier statement of the transaction failed; roll it back.',
}

/** Codes of errors that pass by themselves: retrying makes sense. All others are permanent. */
const transientCodes: ReadonlySet<string> = new Set([
  'database.unreachable',
  'database.full',
  'database.error',
  'timeout',
  'lock.timeout',
  'transaction.conflict',
])

/** True where retrying later can help. */
export function isTransient(error: unknown): boolean {
  return isDueqError(error) && transientCodes.has(error.code)
}

/** Turns an error of a driver, or of the network below it, into a DueqError. */
export function fromDatabase(error: unknown): DueqError {
  if (isDueqError(error)) return error
  const { code: rawCode, message = String(error), hint, errors } = (error ?? {}) as DriverError
  const sqlState = typeof rawCode === 'string' ? rawCode : ''
  const isOutcomeUnknown = isAnswerLost(error as DriverError, sqlState, message)
  const options = { cause: error, details: { sqlState: rawCode }, isOutcomeUnknown }
  if (isNetworkCode(sqlState, message)) {
    const reason = message || errors?.map((inner) => inner.message).join(', ') || sqlState
    return new DueqError(
      'database.unreachable',
      isOutcomeUnknown
        ? `The connection to the database was lost before the answer came (${reason}); whether the statement took effect is unknown.`
        : `No connection to the database: ${reason}. ${adviceOf['database.unreachable']}`,
      options,
    )
  }
  const code =
    codeOfSqlState[sqlState === '08P01' ? refusalOfPooler(message) : sqlState] ??
    (sqlState.startsWith('08') ? 'database.unreachable' : isOutcomeUnknown ? 'timeout' : 'database.error')
  const advice = isOutcomeUnknown
    ? 'Whether the statement took effect is unknown.'
    : sqlState.startsWith('DQ')
      ? hint
      : adviceOf[code]
  return new DueqError(code, advice ? `${sentence(message)} ${advice}` : message, options)
}

/** Any thrown value as text, also one that has no text form. */
export function thrownText(thrown: unknown): string {
  try {
    return String(thrown)
  } catch {
    return `a ${typeof thrown} without a text form`
  }
}

// --- internal ---

type DriverError = {
  readonly code?: unknown
  readonly message?: string
  readonly hint?: string
  readonly errors?: readonly Error[]
  /** The system call that failed, for errors of the network. */
  readonly syscall?: string
}

/**
 * The state that PostgreSQL would have given. PgBouncer refuses with 08P01 whatever the reason is, and only its words, which
 * are never translated, tell a wrong password from a server that is down.
 */
function refusalOfPooler(message: string): string {
  if (/authentication failed|no such user/i.test(message)) return '28P01'
  return /no such database|database .* does not exist/i.test(message) ? '3D000' : '08P01'
}

/** Network errors carry the name of an errno; postgres.js adds names of its own; pg has only texts for some. */
function isNetworkCode(code: string, message: string): boolean {
  return (
    /^(E[A-Z]+|CONNECT_TIMEOUT|CONNECTION_(CLOSED|ENDED|DESTROYED|CONNECT_TIMEOUT))$/.test(code) ||
    (code === '' &&
      /connection (terminated|ended|timeout)|timeout expired|timeout exceeded when trying to connect|not queryable/i.test(
        message,
      ))
  )
}

/**
 * Whether a statement may have been committed although this error came instead of its answer. A backend that is told to
 * end (57P01, 57P02) may be past the commit; an error while connecting (`syscall`) came before anything was sent.
 */
function isAnswerLost(error: DriverError, code: string, message: string): boolean {
  return (
    /^(57P0[12]|40003|08(000|006|007|P01))$/.test(code) ||
    (/^(ECONNRESET|EPIPE|ETIMEDOUT|ENETDOWN|ENETUNREACH|EHOSTUNREACH|CONNECTION_(CLOSED|DESTROYED))$/.test(code) &&
      error.syscall !== 'connect') ||
    (code === '' && /connection terminated(?! due to connection timeout)|^query read timeout$/i.test(message))
  )
}

function sentence(text: string): string {
  const first = text.charAt(0).toUpperCase() + text.slice(1)
  return /[.!?]$/.test(first) ? first : `${first}.`
}
