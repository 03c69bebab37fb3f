// A queue in the hands of a user: produce, consume, look and operate. A handle is cheap and writes nothing by itself.
import type { Client } from './client.js'
import type { ConsumeOptions } from './consume-options.js'
import { type Consumer, startConsumer } from './consumer.js'
import { differences, type QueueDefinition } from './definition.js'
import { type DequeueOptions, dequeue } from './dequeue.js'
import type { Enqueuer } from './enqueuer.js'
import { DueqError, isDueqError } from './errors.js'
import type { Handler } from './handlers.js'
import { iterate, type MessagesOptions } from './iterate.js'
import type { Message } from './message.js'
import { describe, knownOptions, messageIds, wholeNumber } from './options.js'
import type { EnqueueOptions, WaitOptions } from './prepare.js'
import { type EnqueueItem, enqueueAll, enqueueOne } from './produce.js'
import type { Room } from './room.js'
import type { QueueStats } from './statements-operate.js'
import type { Enqueued } from './statements-produce.js'

/** What a producer needs, on a pool or in a transaction. */
export type Producer<In> = {
  /**
   * Enqueues a message. Settles after the commit; in a transaction of yours, when the statement is done.
   * Gives its id, and `created: false` where a live message with its dedup key exists (then the id of that one).
   * Errors: `payload.*`, `headers.invalid`, `delay.and_at`, `duration.invalid`, `instant.invalid`, `queue.unknown`, `queue.full`, `timeout` and
   * `database.unreachable`, whose `isOutcomeUnknown` says whether it may have been enqueued all the same.
   */
  enqueue(payload: In, options?: EnqueueOptions & WaitOptions): Promise<Enqueued>
  /**
   * Enqueues many. An array goes in one statement: all or none. An async iterable goes in chunks of 1000, each committed
   * by itself; its error has code `enqueue.incomplete`, and `details.committed` holds what is enqueued already. Where
   * `isOutcomeUnknown` is true, the chunk after those may be enqueued as well. With `ids: false` it gives how many were created,
   * and so takes no memory however many there are; the error then has `details.committedCount` only.
   * With `wait`, an array waits until all of it has room, and each chunk for itself.
   */
  enqueueMany(
    items: Iterable<EnqueueItem<In>> | AsyncIterable<EnqueueItem<In>>,
    options?: WaitOptions & { readonly ids?: true },
  ): Promise<Enqueued[]>
  enqueueMany(
    items: Iterable<EnqueueItem<In>> | AsyncIterable<EnqueueItem<In>>,
    options: WaitOptions & { readonly ids: false },
  ): Promise<number>
}

/** A queue of a connected dueq. */
export type QueueHandle<In, Out> = Producer<In> & {
  readonly name: string
  /** Runs the handler on each message as it becomes due. Returning acks, throwing nacks. */
  consume(handler: Handler<Out>, options?: ConsumeOptions): Consumer
  /** Iterates over messages one at a time; the next turn of the loop acks, leaving the loop early nacks. */
  messages(options?: MessagesOptions): AsyncGenerator<Message<Out>, void, void>
  /** Claims up to `max` messages. Their leases are not kept: settle each, or `extend`, before the lease ends. */
  dequeue(options?: DequeueOptions): Promise<Message<Out>[]>
  /** How many messages are in which state. */
  stats(): Promise<QueueStats>
  /** Delivers nothing until `resume`. False where it was paused already. */
  pause(): Promise<boolean>
  resume(): Promise<boolean>
  /** Makes dead letters messages again, due now, with new ids: those given, or the oldest `max` (1 to 10000, default 1000). */
  redrive(options?: {
    readonly ids?: readonly string[]
    readonly max?: number
  }): Promise<{ readonly deadId: string; readonly id: string }[]>
  /** Deletes all messages nobody is working on, or really all; gives their number. */
  purge(options?: { readonly includeLeased?: boolean }): Promise<number>
  /** Deletes dead letters: those given, or all; gives their number. */
  purgeDead(options?: { readonly ids?: readonly string[] }): Promise<number>
  /** Removes the queue, which must be empty: `queue.not_empty`. */
  drop(): Promise<void>
}

/** The producing side of a queue. In a transaction there is no `room` to wait for. */
export function createProducer<In>(enqueuer: Enqueuer, queue: QueueDefinition, room?: Room): Producer<In> {
  return {
    enqueue: (payload, options) => enqueueOne(enqueuer, queue, payload, options, room),
    enqueueMany: ((items, options) => enqueueAll(enqueuer, queue, items, options, room)) as Producer<In>['enqueueMany'],
  }
}

/** Creates a queue or changes its stored settings; passes where it may not, but they are as declared. */
export async function ensureQueue({ query, statements }: Client, { name, settings }: QueueDefinition): Promise<void> {
  try {
    await statements.createQueue(query, name, settings)
  } catch (error) {
    if (!isDueqError(error) || error.code !== 'database.permission') throw error
    const [stored] = await statements.settings(query, name)
    if (!stored || differences(settings, stored).length > 0) throw error
  }
}

/** A handle on a queue. */
export function createHandle<In, Out>(client: Client, queue: QueueDefinition): QueueHandle<In, Out> {
  const { query, statements } = client
  const { name } = queue
  /** Reads the stored settings, and tells once where the declared ones differ. */
  const compareSettings = async (): Promise<void> => {
    const [stored] = await statements.settings(query, name)
    const found = stored ? differences(queue.settings, stored) : []
    if (found.length > 0) client.emit({ type: 'queue.differs', queue: name, differences: found })
  }
  const compareOnce = (): void => {
    if (client.compared.has(name)) return
    client.compared.add(name)
    compareSettings().catch(() => {}) // the consumer meets the same trouble, and tells
  }

  return {
    name,
    ...createProducer<In>(client.enqueuer, queue, client.room),
    consume(handler, options = {}) {
      compareOnce()
      return startConsumer(client, queue, handler, options)
    },
    messages(options = {}) {
      knownOptions('messages', options, ['lease', 'pollInterval', 'signal'])
      compareOnce()
      return iterate(client, queue, options)
    },
    dequeue: (options) => dequeue(client, queue, options),
    async stats() {
      const [stats] = await statements.stats(query, name)
      if (stats) return stats
      throw new DueqError(
        'queue.unknown',
        `Queue "${name}" does not exist. Create it first: \`await dueq.ensure([…])\`.`,
        { details: { queue: name } },
      )
    },
    pause: () => statements.pauseQueue(query, name),
    resume: () => statements.resumeQueue(query, name),
    async redrive(options = {}) {
      knownOptions('redrive', options, ['ids', 'max'])
      return statements.redrive(
        query,
        name,
        messageIds('ids', options.ids),
        wholeNumber('max', options.max ?? 1000, 1, 10_000),
      )
    },
    async purge(options = {}) {
      knownOptions('purge', options, ['includeLeased'])
      const { includeLeased = false } = options
      if (typeof includeLeased !== 'boolean')
        throw new DueqError(
          'option.invalid',
          `Expected \`includeLeased\` to be true or false, got ${describe(includeLeased)}.`,
          { details: { option: 'includeLeased' } },
        )
      return untilNone(() => statements.purge(query, name, 10_000, includeLeased))
    },
    async purgeDead(options = {}) {
      knownOptions('purgeDead', options, ['ids'])
      const ids = messageIds('ids', options.ids)
      return untilNone(() => statements.purgeDead(query, name, ids, 10_000))
    },
    drop: () => statements.dropQueue(query, name),
  }
}

// --- internal ---

/** Deletes in bounded statements until one deletes nothing. */
async function untilNone(deleteSome: () => Promise<number>): Promise<number> {
  let total = 0
  for (;;) {
    const count = await deleteSome()
    if (count === 0) return total
    total += count
  }
}
