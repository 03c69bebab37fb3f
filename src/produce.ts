// Enqueueing: one message, an array, or a stream of them. Through whatever sends them, so that inside a caller's transaction
// nothing is different.
import type { QueueDefinition } from './definition.js'
import type { Enqueuer } from './enqueuer.js'
import { DueqError, isDueqError } from './errors.js'
import { knownOptions, readable, saying } from './options.js'
import { charsOf, type EnqueueOptions, optionNames, prepare } from './prepare.js'
import type { Enqueued, Enqueueing } from './statements-produce.js'
import { createRest } from './turns.js'

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

const itemNames = ['payload', ...optionNames]

/** Enqueues one message. */
export function enqueueOne(
  enqueuer: Enqueuer,
  queue: QueueDefinition,
  payload: unknown,
  options: EnqueueOptions = {},
): Promise<Enqueued> {
  try {
    knownOptions('enqueue', options, optionNames)
    const message = prepare(queue, payload, options)
    return message instanceof Promise
      ? message.then((accepted) => enqueuer.one(queue.name, accepted))
      : enqueuer.one(queue.name, message)
  } catch (error) {
    return Promise.reject(error)
  }
}

/** Enqueues an array in one statement, all or none; anything async-iterable in chunks, each committed by itself. */
export async function enqueueAll<In>(
  enqueuer: Enqueuer,
  queue: QueueDefinition,
  items: Iterable<EnqueueItem<In>> | AsyncIterable<EnqueueItem<In>>,
): Promise<Enqueued[]> {
  if (isIterable(items, Symbol.asyncIterator)) return enqueueChunks(enqueuer, queue, items)
  if (!isIterable(items, Symbol.iterator))
    throw new DueqError('option.invalid', 'Expected `enqueueMany` to get an array (or an iterable) of { payload, … }.')
  const messages: Enqueueing[] = []
  const rest = createRest()
  let chars = 0
  try {
    for (const item of items) {
      const prepared = prepareItem(queue, item, messages.length)
      const message = prepared instanceof Promise ? await prepared : prepared
      chars += charsOf(message)
      if (chars > maxArrayChars) throw arrayTooLarge(messages.length)
      messages.push(message)
      const pause = rest()
      if (pause) await pause
    }
  } catch (error) {
    if (isDueqError(error)) throw error
    throw new DueqError(
      'option.invalid',
      `Nothing was enqueued: the iterable of \`enqueueMany\` threw after ${messages.length} messages: ${saying(error)}.`,
      { cause: error },
    )
  }
  return messages.length === 0 ? [] : enqueuer.many(queue.name, messages)
}

// --- internal ---

async function enqueueChunks<In>(
  enqueuer: Enqueuer,
  queue: QueueDefinition,
  items: AsyncIterable<EnqueueItem<In>>,
): Promise<Enqueued[]> {
  const committed: Enqueued[] = []
  let chunk: Enqueueing[] = []
  let chars = 0
  const flush = async (): Promise<void> => {
    if (chunk.length === 0) return
    committed.push(...(await enqueuer.many(queue.name, chunk)))
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

function prepareItem(
  queue: QueueDefinition,
  item: EnqueueItem<unknown>,
  index: number,
): Enqueueing | Promise<Enqueueing> {
  try {
    knownOptions('a message', item ?? null, itemNames)
    if (!('payload' in item))
      throw new DueqError('option.invalid', 'Expected { payload, delay?, at?, … }, got an object without `payload`.')
    const message = prepare(queue, item.payload, item)
    return message instanceof Promise ? message.catch((error: unknown) => refuse(error, index)) : message
  } catch (error) {
    return refuse(error, index)
  }
}

function refuse(error: unknown, index: number): never {
  if (!(error instanceof DueqError)) throw error
  throw new DueqError(error.code, `Message ${index}: ${error.message}`, {
    cause: error,
    details: { ...error.details, index },
  })
}
