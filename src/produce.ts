// Enqueueing: validates against the contract, writes JSON, and sends it. On whatever connection it is given, so that
// inside a caller's transaction nothing is different.
import type { QueueDefinition } from './definition.js'
import type { Query } from './driver.js'
import { DueqError, isDueqError } from './errors.js'
import { jsonText } from './json.js'
import {
  type Duration,
  durationMs,
  type Instant,
  instantText,
  knownOptions,
  readable,
  saying,
  wholeNumber,
} from './options.js'
import { issuesText, validate } from './payload-schema.js'
import type { Enqueued, Enqueueing, Statements } from './statements.js'
import { createRest } from './turns.js'

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

/** One message of `enqueueMany`. */
export type EnqueueItem<In> = EnqueueOptions & { readonly payload: In }

/** A chunk of an async iterable is full at so many messages, or at so much JSON (in UTF-16 code units). */
const chunkSize = 1000
const chunkChars = 4_000_000

/**
 * The most JSON of one array, in UTF-16 code units. As an array literal it becomes up to twice as long and as `jsonb[]` up to
 * seven times, and both a string of V8 (512 M) and a value of PostgreSQL (1 GB) end.
 */
const maxArrayChars = 134_217_728

const optionNames = ['delay', 'at', 'priority', 'dedupKey', 'headers']

/** Enqueues one message. */
export async function enqueueOne(
  query: Query,
  statements: Statements,
  queue: QueueDefinition,
  payload: unknown,
  options: EnqueueOptions = {},
): Promise<Enqueued> {
  knownOptions('enqueue', options, optionNames)
  return statements.enqueue(query, queue.name, await prepare(queue, payload, options))
}

/** Enqueues an array in one statement, all or none; anything async-iterable in chunks, each committed by itself. */
export async function enqueueAll<In>(
  query: Query,
  statements: Statements,
  queue: QueueDefinition,
  items: Iterable<EnqueueItem<In>> | AsyncIterable<EnqueueItem<In>>,
): Promise<Enqueued[]> {
  if (isIterable(items, Symbol.asyncIterator)) return enqueueChunks(query, statements, queue, items)
  if (!isIterable(items, Symbol.iterator))
    throw new DueqError('option.invalid', 'Expected `enqueueMany` to get an array (or an iterable) of { payload, … }.')
  const messages: Enqueueing[] = []
  const rest = createRest()
  let chars = 0
  try {
    for (const item of items) {
      const message = await prepareItem(queue, item, messages.length)
      chars += charsOf(message)
      if (chars > maxArrayChars) throw arrayTooLarge(messages.length)
      messages.push(message)
      await rest()
    }
  } catch (error) {
    if (isDueqError(error)) throw error
    throw new DueqError(
      'option.invalid',
      `Nothing was enqueued: the iterable of \`enqueueMany\` threw after ${messages.length} messages: ${saying(error)}.`,
      { cause: error },
    )
  }
  return messages.length === 0 ? [] : statements.enqueueMany(query, queue.name, messages)
}

// --- internal ---

async function enqueueChunks<In>(
  query: Query,
  statements: Statements,
  queue: QueueDefinition,
  items: AsyncIterable<EnqueueItem<In>>,
): Promise<Enqueued[]> {
  const committed: Enqueued[] = []
  let chunk: Enqueueing[] = []
  let chars = 0
  const flush = async (): Promise<void> => {
    if (chunk.length === 0) return
    committed.push(...(await statements.enqueueMany(query, queue.name, chunk)))
    chunk = []
    chars = 0
  }
  let count = 0
  try {
    for await (const item of items) {
      const message = await prepareItem(queue, item, count++)
      chunk.push(message)
      chars += charsOf(message)
      if (chunk.length === chunkSize || chars >= chunkChars) await flush()
    }
    await flush()
    return committed
  } catch (error) {
    const reason = isDueqError(error) ? error.message : `${saying(error)}.`
    const isOutcomeUnknown = isDueqError(error) && error.isOutcomeUnknown
    const advice = isOutcomeUnknown
      ? `The next ${chunk.length} may be enqueued as well: to send them again safely, give them dedup keys.`
      : 'Go on with the message after those.'
    throw new DueqError(
      'enqueue.incomplete',
      `enqueueMany stopped after ${committed.length} committed messages: ${reason} ${advice}`,
      { cause: error, details: { committed }, isOutcomeUnknown },
    )
  }
}

function charsOf({ payload, headers }: Enqueueing): number {
  return payload.length + (headers?.length ?? 0)
}

function arrayTooLarge(index: number): DueqError {
  return new DueqError(
    'payload.too_large',
    `The messages before number ${index} have ${maxArrayChars} characters of JSON, the most that goes in one statement. Pass \`enqueueMany\` an async iterable, which is committed in chunks.`,
    { details: { index } },
  )
}

function isIterable(value: unknown, key: symbol): value is Iterable<never> & AsyncIterable<never> {
  const look = (): boolean => typeof (value as { readonly [key: symbol]: unknown })[key] === 'function'
  return typeof value === 'object' && value !== null && readable('what `enqueueMany` gets', look)
}

async function prepareItem(queue: QueueDefinition, item: EnqueueItem<unknown>, index: number): Promise<Enqueueing> {
  try {
    knownOptions('a message', item ?? null, ['payload', ...optionNames])
    if (!('payload' in item))
      throw new DueqError('option.invalid', 'Expected { payload, delay?, at?, … }, got an object without `payload`.')
    return await prepare(queue, item.payload, item)
  } catch (error) {
    if (!(error instanceof DueqError)) throw error
    throw new DueqError(error.code, `Message ${index}: ${error.message}`, {
      cause: error,
      details: { ...error.details, index },
    })
  }
}

async function prepare(queue: QueueDefinition, payload: unknown, options: EnqueueOptions): Promise<Enqueueing> {
  const { delay, at, priority, dedupKey, headers } = options
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
  if (queue.payload) {
    const result = await validate(queue.payload, payload)
    if (result.issues)
      throw new DueqError(
        'payload.rejected',
        `The payload for queue "${queue.name}" does not fit its schema: ${issuesText(result.issues)}.`,
        {
          details: { queue: queue.name, issues: result.issues },
        },
      )
  }
  return {
    payload: jsonText('payload', payload),
    delayMs: delay === undefined ? undefined : durationMs('delay', delay),
    at: at === undefined ? undefined : instantText('at', at),
    priority: priority === undefined ? undefined : wholeNumber('priority', priority, -100, 100),
    dedupKey,
    headers: headers === undefined ? undefined : jsonText('headers', headers),
  }
}
