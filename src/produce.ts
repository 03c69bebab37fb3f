// Enqueueing: one message, an array, or a stream of them. Through whatever sends them, so that inside a caller's transaction
// nothing is different.
import type { QueueDefinition } from './definition.js'
import type { Enqueuer } from './enqueuer.js'
import { DueqError, isDueqError } from './errors.js'
import { abortSignal, describe, durationMs, knownOptions, readable, saying } from './options.js'
import { charsOf, type EnqueueOptions, optionNames, prepare, type WaitOptions, waitNames } from './prepare.js'
import { type Patience, partThatFits, type Room } from './room.js'
import type { Enqueued, Enqueueing } from './statements-produce.js'
import { createRest } from './turns.js'

/** One message of `enqueueMany`. */
export type EnqueueItem<In> = EnqueueOptions & { readonly payload: In }

export type EnqueueManyOptions = WaitOptions & {
  /** False: gives how many messages were created, and keeps no ids, which are all that grows with an endless iterable. @default true */
  readonly ids?: boolean
}

/** A chunk of an async iterable is full at so many messages, or at so much JSON (in UTF-16 code units). */
const chunkSize = 1000
const chunkChars = 4_000_000

/**
 * The most JSON of one array, in UTF-16 code units. As an array literal it becomes up to twice as long and as `jsonb[]` up to
 * seven times, and both a string of V8 (512 M) and a value of PostgreSQL (1 GB) end.
 */
const maxArrayChars = 134_217_728

const itemNames = ['payload', ...optionNames]
const enqueueNames = [...optionNames, ...waitNames]

/** Enqueues one message. */
export function enqueueOne(
  enqueuer: Enqueuer,
  queue: QueueDefinition,
  payload: unknown,
  options: EnqueueOptions & WaitOptions = {},
  room?: Room,
): Promise<Enqueued> {
  try {
    knownOptions('enqueue', options, enqueueNames)
    const patience = patienceOf('enqueue', options, room)
    const message = prepare(queue, payload, options)
    const send = (accepted: Enqueueing): Promise<Enqueued> =>
      patience
        ? room!.wait(queue.name, patience, () => enqueuer.one(queue.name, accepted))
        : enqueuer.one(queue.name, accepted)
    return message instanceof Promise ? message.then(send) : send(message)
  } catch (error) {
    return Promise.reject(error)
  }
}

/** Enqueues an array in one statement, all or none; anything async-iterable in chunks, each committed by itself. */
export async function enqueueAll<In>(
  enqueuer: Enqueuer,
  queue: QueueDefinition,
  items: Iterable<EnqueueItem<In>> | AsyncIterable<EnqueueItem<In>>,
  options: EnqueueManyOptions = {},
  room?: Room,
): Promise<Enqueued[] | number> {
  knownOptions('enqueueMany', options, ['ids', ...waitNames])
  const { ids = true } = options
  if (typeof ids !== 'boolean')
    throw new DueqError('option.invalid', `Expected \`ids\` to be true or false, got ${describe(ids)}.`, {
      details: { option: 'ids' },
    })
  const tally = createTally(ids)
  const patience = patienceOf('enqueueMany', options, room)
  if (isIterable(items, Symbol.asyncIterator)) await enqueueChunks(enqueuer, queue, items, tally, patience, room)
  else if (isIterable(items, Symbol.iterator)) tally.add(await enqueueArray(enqueuer, queue, items, patience, room))
  else
    throw new DueqError('option.invalid', 'Expected `enqueueMany` to get an array (or an iterable) of { payload, … }.')
  return tally.result()
}

// --- internal ---

/** What is committed: all of it, or its number. */
function createTally(keepsIds: boolean) {
  const committed: Enqueued[] = []
  let count = 0
  let createdCount = 0
  return {
    add(enqueued: readonly Enqueued[]): void {
      count += enqueued.length
      if (keepsIds) committed.push(...enqueued)
      else for (const { created } of enqueued) if (created) createdCount++
    },
    result: () => (keepsIds ? committed : createdCount),
    details: () => (keepsIds ? { committed, committedCount: count } : { committedCount: count }),
  }
}

async function enqueueArray<In>(
  enqueuer: Enqueuer,
  queue: QueueDefinition,
  items: Iterable<EnqueueItem<In>>,
  patience: Patience | undefined,
  room: Room | undefined,
): Promise<Enqueued[]> {
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
  if (messages.length === 0) return []
  const send = (): Promise<Enqueued[]> => enqueuer.many(queue.name, messages)
  return patience ? room!.wait(queue.name, patience, send) : send()
}

/** How long to wait for room; undefined: not at all. Raises `option.invalid`, `duration.invalid`. */
function patienceOf(verb: string, { wait, signal }: WaitOptions, room: Room | undefined): Patience | undefined {
  if (wait === undefined && signal === undefined) return undefined
  if (!room)
    throw new DueqError(
      'option.invalid',
      `\`${verb}\` does not wait inside a transaction, which would keep its locks and its connection for so long. Catch \`queue.full\`, roll back, and run the transaction again later.`,
    )
  const waitMs = wait === undefined ? 0 : durationMs('wait', wait, { max: '1d' })
  return { waitMs, signal: abortSignal('signal', signal) }
}

async function enqueueChunks<In>(
  enqueuer: Enqueuer,
  queue: QueueDefinition,
  items: AsyncIterable<EnqueueItem<In>>,
  tally: ReturnType<typeof createTally>,
  patience: Patience | undefined,
  room: Room | undefined,
): Promise<void> {
  let chunk: Enqueueing[] = []
  let chars = 0
  /** Of a chunk that does not fit, as much is committed as does. In a transaction the error has ended it. */
  const send = async (): Promise<void> => {
    try {
      tally.add(await enqueuer.many(queue.name, chunk))
      chunk = []
    } catch (error) {
      const fitting = room ? partThatFits(error, chunk.length) : 0
      if (fitting === 0) throw error
      tally.add(await enqueuer.many(queue.name, chunk.slice(0, fitting)))
      chunk = chunk.slice(fitting)
      return send()
    }
  }
  const flush = async (): Promise<void> => {
    if (chunk.length === 0) return
    if (patience) await room!.wait(queue.name, patience, send)
    else await send()
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
  } catch (error) {
    const reason = isDueqError(error) ? error.message : `${saying(error)}.`
    const isOutcomeUnknown = isDueqError(error) && error.isOutcomeUnknown
    const advice = isOutcomeUnknown
      ? `The next ${chunk.length} may be enqueued as well: to send them again safely, give them dedup keys.`
      : 'Go on with the message after those.'
    const details = tally.details()
    throw new DueqError(
      'enqueue.incomplete',
      `enqueueMany stopped after ${details.committedCount} committed messages: ${reason} ${advice}`,
      { cause: error, details, isOutcomeUnknown },
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
