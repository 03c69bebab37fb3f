// What errors of the database, of its driver and of the network below mean to dueq. The code follows the SQLSTATE, never the
// text; only where there is no state does the text decide.
import { DueqError, type DueqErrorCode, isDueqError, thrownText } from './errors.js'

/** Turns an error of a driver, or of the network below it, into a DueqError. */
export function fromDatabase(error: unknown): DueqError {
  if (isDueqError(error)) return error
  const thrown = readThrown(error)
  const { code: rawCode, message, hint, detail, errors } = thrown
  const sqlState = typeof rawCode === 'string' ? rawCode : ''
  const state = stateBehindPooler(sqlState, thrown)
  const isOutcomeUnknown = isAnswerLost(thrown, state, message)
  const options = {
    cause: error,
    details: { sqlState: rawCode, ...(sqlState === 'DQ007' && fullness(detail)) },
    isOutcomeUnknown,
  }
  if (sqlState === 'CONNECTION_ENDED' || message.startsWith('Cannot use a pool after calling end'))
    return new DueqError(
      'connection.invalid',
      `The connections that dueq was given are ended: ${message}. Close dueq first, and end them then.`,
      options,
    )
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
    codeOfSqlState[state] ??
    (state.startsWith('08') ? 'database.unreachable' : isOutcomeUnknown ? 'timeout' : 'database.error')
  const advice = isOutcomeUnknown
    ? 'Whether the statement took effect is unknown.'
    : sqlState.startsWith('DQ')
      ? hint
      : (adviceOfSqlState[sqlState] ?? adviceOf[code])
  return new DueqError(code, advice ? `${sentence(message)} ${advice}` : message, options)
}

/**
 * Says why a server refused to write: as a standby, or as a primary where a setting forbids it. `inHotStandby`: what the server
 * reported of itself; where a pooler keeps that back, the error stays as it is.
 */
export function readOnlyError(error: DueqError, inHotStandby: unknown): DueqError {
  if (inHotStandby !== 'on' && inHotStandby !== 'off') return error
  const isStandby = inHotStandby === 'on'
  const why = isStandby
    ? 'This server is a standby; dueq needs the primary, and looks for it with the next statement.'
    : 'This server is a primary, so look at default_transaction_read_only: of the role, the database or the whole server, where services set it when a disk is full or a switch is near.'
  const details = { ...error.details, isStandby }
  return new DueqError(error.code, `${sentence(readThrown(error.cause).message)} ${why}`, {
    cause: error.cause,
    details,
  })
}

// --- internal ---

const codeOfSqlState: Readonly<Record<string, DueqErrorCode>> = {
  DQ001: 'queue.unknown',
  DQ002: 'option.invalid',
  DQ003: 'payload.too_large',
  DQ004: 'delay.and_at',
  DQ005: 'queue.invalid_name',
  DQ006: 'queue.not_empty',
  DQ007: 'queue.full',
  '22007': 'instant.invalid',
  '22008': 'instant.invalid',
  '22009': 'instant.invalid',
  '22021': 'option.invalid',
  '22P05': 'payload.not_json',
  '22P02': 'payload.not_json',
  '25006': 'database.read_only',
  '25P02': 'transaction.aborted',
  '25P03': 'transaction.aborted',
  '25P04': 'transaction.aborted',
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
  '54001': 'payload.not_json',
  '55P03': 'lock.timeout',
  '57014': 'timeout',
  '57P01': 'database.unreachable',
  '57P02': 'database.unreachable',
  '57P03': 'database.unreachable',
  '57P04': 'database.unreachable',
  '57P05': 'database.unreachable',
}

const adviceOf: Partial<Record<DueqErrorCode, string>> = {
  'instant.invalid': "Give an instant that exists, like '2027-01-31T09:00:00Z'.",
  'database.credentials': 'Check the user and password of the connection URL, and pg_hba.conf.',
  'database.not_found': 'Check the database name of the connection URL, or create the database.',
  'database.permission': 'Grant the role the rights it needs, or connect as another role.',
  'database.full': 'Free disk space on the database server; nothing was written.',
  'database.read_only':
    'This server takes no writes: a standby, or a role or database that is read-only by default. dueq needs the primary.',
  'database.unreachable': 'Check that PostgreSQL is running and that host and port are right.',
  'schema.missing': 'Run `npx dueq migrate` against this database (and check the `schema` option).',
  'lock.timeout':
    'Another transaction holds the row, or the whole table; nothing was changed. Try again; `dueq doctor` names the holder.',
  'transaction.conflict': 'Roll the transaction back and run it again.',
  'transaction.aborted': 'An earlier statement of the transaction failed; roll it back.',
}

/** Where the state knows more than the code. */
const adviceOfSqlState: Readonly<Record<string, string>> = {
  '53200': 'The database server is out of memory.',
  '53300': 'The database has no connection left: close some, lower `max` of your pools, or raise max_connections.',
  '54001': 'Is the JSON nested very deep? Flatten it.',
}

/** What the detail of DQ007 says. A driver of the user's own may have lost it. */
function fullness(detail: string | undefined): Readonly<Record<string, unknown>> {
  try {
    const { queue, depth, max_depth: maxDepth, room, wanted, again_ms: againMs } = JSON.parse(detail ?? '')
    return { queue, depth, maxDepth, room, wanted, againMs }
  } catch {
    return {}
  }
}

type DriverError = {
  readonly code?: unknown
  readonly message: string
  readonly severity?: string | undefined
  readonly hint?: string | undefined
  readonly detail?: string | undefined
  readonly errors?: readonly Error[] | undefined
  /** The system call that failed, for errors of the network. */
  readonly syscall?: string | undefined
}

/** What there is to read. A driver of the user's own may throw anything, also what throws when it is read. */
function readThrown(thrown: unknown): DriverError {
  try {
    const { code, message, severity, hint, detail, errors, syscall } = (thrown ?? {}) as Partial<DriverError>
    const text = typeof message === 'string' ? message : thrownText(thrown)
    return { code, message: text, severity, hint, detail, errors, syscall }
  } catch {
    return { message: thrownText(thrown) }
  }
}

/**
 * The state that PostgreSQL would have given. PgBouncer refuses with 08P01 whatever the reason is, and only its words, which
 * are never translated, tell a wrong password from a server that is down. Supavisor and Pgpool say XX000 of a connection to
 * the server that they lost; of the errors of PostgreSQL with that state hardly any ends the connection.
 */
function stateBehindPooler(sqlState: string, { message, severity }: DriverError): string {
  if (sqlState === 'XX000' && severity === 'FATAL') return '08006'
  if (sqlState !== '08P01') return sqlState
  if (/authentication failed|no such user/i.test(message)) return '28P01'
  return /no such database|database .* does not exist/i.test(message) ? '3D000' : sqlState
}

/** Network errors carry the name of an errno; postgres.js adds names of its own; pg has only texts for some. */
function isNetworkCode(code: string, message: string): boolean {
  return (
    /^(E[A-Z]+|CONNECT_TIMEOUT|CONNECTION_(CLOSED|DESTROYED|CONNECT_TIMEOUT))$/.test(code) ||
    (code === '' &&
      /connection (terminated|ended|timeout)|timeout expired|timeout exceeded when trying to connect|not queryable/i.test(
        message,
      ))
  )
}

/**
 * Whether a statement may have been committed although this error came instead of its answer. A backend that is told to
 * end (57P01, 57P02, 57P04, 57P05) may be past the commit; an error while connecting (`syscall`) came before anything was sent.
 */
function isAnswerLost(error: DriverError, code: string, message: string): boolean {
  return (
    /^(57P0[1245]|40003|08(000|006|007|P01))$/.test(code) ||
    (/^(ECONNRESET|EPIPE|ETIMEDOUT|ENETDOWN|ENETUNREACH|EHOSTUNREACH|CONNECTION_(CLOSED|DESTROYED))$/.test(code) &&
      error.syscall !== 'connect') ||
    (code === '' && /connection terminated(?! due to connection timeout)|^query read timeout$/i.test(message))
  )
}

function sentence(text: string): string {
  const first = text.charAt(0).toUpperCase() + text.slice(1)
  return /[.!?]$/.test(first) ? first : `${first}.`
}
