// A message on its way in: checked against the contract of its queue and written as JSON, before anything is sent.
import type { QueueDefinition } from './definition.js'
import { DueqError } from './errors.js'
import { jsonText } from './json.js'
import { type Duration, durationMs, type Instant, instantText, readable, wholeNumber } from './options.js'
import { issuesText, validate } from './payload-schema.js'
import type { Enqueueing } from './statements-produce.js'

/** When and how to enqueue. `delay` and `at` exclude each other; without both the message is due at once. */
export type EnqueueOptions = {
  /** Due this long after the enqueue, by the clock of the database. */
  readonly delay?: Duration
  /** Due at this instant. One in the past is due at once, and late from the start. */
  readonly at?: Instant
  /** -100 to 100; SMALLER comes FIRST. @default 0 */
  readonly priority?: number
  /** At most one live message of the queue has this key; enqueueing a second gives the first, with `created: false`. */
  readonly dedupKey?: string
  /** Metadata beside the payload, a JSON object of at most 64 kB. */
  readonly headers?: Readonly<Record<string, unknown>>
}

/** Whether and how long to wait where the queue is at its limit, `maxDepth`. */
export type WaitOptions = {
  /**
   * Waits so long for room, up to 1d, instead of being refused with `queue.full`. The wait is in this process, between
   * statements, so it is not for a transaction of yours. @default 0
   */
  readonly wait?: Duration
  /** Ends that wait early; the call rejects with `aborted`. */
  readonly signal?: AbortSignal
}

/** The names of the options, as `knownOptions` wants them. */
export const optionNames = ['delay', 'at', 'priority', 'dedupKey', 'headers']
export const waitNames = ['wait', 'signal']

/**
 * Checks a message and writes it in the terms of SQL. A promise only where the queue has a schema to ask: without one a
 * hundred thousand messages need no hundred thousand turns. Raises, or rejects with, `payload.*`, `headers.invalid`, `delay.and_at`,
 * `duration.invalid`, `instant.invalid`, `option.invalid`.
 */
export function prepare(
  queue: QueueDefinition,
  payload: unknown,
  options: EnqueueOptions,
): Enqueueing | Promise<Enqueueing> {
  const { delay, at, priority, dedupKey, headers } = options
  checkOptions(options)
  const written = (): Enqueueing => ({
    payload: jsonText('payload', payload),
    delayMs: delay === undefined ? undefined : durationMs('delay', delay),
    at: at === undefined ? undefined : instantText('at', at),
    priority: priority === undefined ? undefined : wholeNumber('priority', priority, -100, 100),
    dedupKey,
    headers: headers === undefined ? undefined : jsonText('headers', headers),
  })
  return queue.payload ? accepted(queue, payload).then(written) : written()
}

/** How much JSON a message has, in UTF-16 code units. */
export function charsOf({ payload, headers }: Enqueueing): number {
  return payload.length + (headers?.length ?? 0)
}

// --- internal ---

function checkOptions({ delay, at, dedupKey, headers }: EnqueueOptions): void {
  if (delay !== undefined && at !== undefined)
    throw new DueqError(
      'delay.and_at',
      'Both `delay` and `at` are given. Give one of them: `delay` counts from now, `at` is an instant.',
    )
  if (
    dedupKey !== undefined &&
    (typeof dedupKey !== 'string' ||
      dedupKey.length === 0 ||
      Buffer.byteLength(dedupKey) > 512 ||
      dedupKey.includes('\u0000') ||
      !dedupKey.isWellFormed())
  )
    throw new DueqError(
      'option.invalid',
      'Expected `dedupKey` to be a string of 1 to 512 bytes, without U+0000 and lone surrogates.',
    )
  if (
    headers !== undefined &&
    (typeof headers !== 'object' || headers === null || readable('`headers`', () => Array.isArray(headers)))
  )
    throw new DueqError('headers.invalid', 'Expected `headers` to be an object.')
}

async function accepted(queue: QueueDefinition, payload: unknown): Promise<void> {
  const result = await validate(queue.payload!, payload)
  if (result.issues)
    throw new DueqError(
      'payload.rejected',
      `The payload for queue "${queue.name}" does not fit its schema: ${issuesText(result.issues)}.`,
      { details: { queue: queue.name, issues: result.issues } },
    )
}
