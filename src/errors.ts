// Every error that dueq throws is a DueqError with a `code`; match on the code, never on the text. The text says what
// happened, to which object, and what to do about it.

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
  | 'queue.full'
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
  | 'enqueue.overloaded'
  | 'database.unreachable'
  | 'database.credentials'
  | 'database.not_found'
  | 'database.permission'
  | 'database.full'
  | 'database.read_only'
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
  try {
    return error instanceof Error && 'code' in error && (error.name === 'DueqError' || error.name === 'LeaseLostError')
  } catch {
    return false // a Proxy, say, whose traps throw
  }
}

/** Codes of errors that pass by themselves: retrying makes sense. All others are permanent. */
const transientCodes: ReadonlySet<string> = new Set([
  'database.unreachable',
  'database.full',
  'database.read_only',
  'database.error',
  'timeout',
  'enqueue.overloaded',
  'queue.full',
  'lock.timeout',
  'transaction.conflict',
])

/** True where retrying later can help. */
export function isTransient(error: unknown): boolean {
  return isDueqError(error) && transientCodes.has(error.code)
}

/** Any thrown value as text, also one that has no text form. */
export function thrownText(thrown: unknown): string {
  try {
    return String(thrown)
  } catch {
    return 'a value without a text form'
  }
}
