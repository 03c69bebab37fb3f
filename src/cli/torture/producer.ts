/**
 * One producer process of a torture run: enqueues at a rate, in every way there is, and writes down what it is about to
 * enqueue before, and what became of it after.
 *
 * Invariant: an enqueue that is not known to be committed or rolled back stays `unknown` in the journal, whatever happened.
 */
import { setTimeout as delay } from 'node:timers/promises'
import type { EnqueuedRecord } from '../journal.js'
import { type DrawnMessage, drawMessage, drawWay, type Load } from './load.js'
import { isUnknown, type Member, runMember } from './member.js'
import { createRandom } from './random.js'
import { openTransactions } from './transaction.js'

const tickMs = 20
/** Calls under way at most: where the database is slow or silent they are not to pile up until all of them are too late. */
const mostUnderWay = 40
/** After a call that failed at once, because the server is down. */
const restMs = 100
/** How often an enqueue of unknown outcome is repeated with its dedup key. */
const mostRepeats = 4

await runMember(produce)

// --- internal ---

async function produce(member: Member): Promise<() => Promise<void>> {
  const { order, dueq, journal, clock, counts } = member
  const random = createRandom(order.seed)
  const queue = dueq.queue<Load>(order.queue)
  const transactions = await openTransactions(order.url)
  let drawnCount = 0
  let restUntil = 0

  const draw = (): DrawnMessage => drawMessage(random, `${order.name}/${process.pid}/${drawnCount++}`)
  const intent = ({ payload, delayMs }: DrawnMessage, dedupKey?: string): EnqueuedRecord => ({
    type: 'enqueued',
    id: null,
    ref: payload.ref,
    dueAt: toMillisecond(clock.notBefore(delayMs)),
    outcome: 'unknown',
    at: clock.notBefore(),
    ...(dedupKey === undefined ? {} : { dedupKey }),
  })
  const committed = (record: EnqueuedRecord, id: string, isNew = true): EnqueuedRecord => {
    counts.enqueued++
    return { ...record, id, outcome: 'committed', at: clock.notAfter(), ...(isNew ? {} : { isNew }) }
  }
  const failed = (record: EnqueuedRecord, id: string | null = null): EnqueuedRecord => {
    counts.rolledBack++
    return { ...record, id, outcome: 'failed', at: clock.notAfter() }
  }
  /** Leaves open what nobody knows. */
  const settleError = (error: unknown, records: readonly EnqueuedRecord[]): void => {
    restUntil = performance.now() + restMs
    if (isUnknown(error)) counts.unknown += records.length
    else journal.writeAll(records.map((record) => failed(record)))
  }
  const optionsOf = ({ delayMs, priority }: DrawnMessage) => ({ delay: delayMs, priority })

  const single = async (message: DrawnMessage): Promise<void> => {
    const record = intent(message)
    journal.write(record)
    try {
      const { id } = await queue.enqueue(message.payload, optionsOf(message))
      journal.write(committed(record, id))
    } catch (error) {
      settleError(error, [record])
    }
  }
  const many = async (messages: readonly DrawnMessage[]): Promise<void> => {
    const records = messages.map((message) => intent(message))
    journal.writeAll(records)
    try {
      const ids = await queue.enqueueMany(messages.map((one) => ({ payload: one.payload, ...optionsOf(one) })))
      journal.writeAll(ids.map(({ id }, index) => committed(records[index]!, id)))
    } catch (error) {
      settleError(error, records)
    }
  }
  const dedup = async (message: DrawnMessage): Promise<void> => {
    const dedupKey = `key ${message.payload.ref}`
    const isRepeatedAnyway = random.next() < 0.2
    for (let repeat = 0; repeat <= mostRepeats; repeat++) {
      // Each call has a name of its own, so that it is known which of them made the message.
      const ref = repeat === 0 ? message.payload.ref : `${message.payload.ref} again ${repeat}`
      const record = intent({ ...message, payload: { ...message.payload, ref } }, dedupKey)
      journal.write(record)
      try {
        const options = { ...optionsOf(message), dedupKey }
        const { id, created } = await queue.enqueue({ ...message.payload, ref }, options)
        journal.write(committed(record, id, created))
        if (repeat > 0 || !isRepeatedAnyway) return
      } catch (error) {
        settleError(error, [record])
        await delay(100)
      }
    }
  }
  const inTransaction = async (messages: readonly DrawnMessage[], isRolledBack: boolean): Promise<void> => {
    const records = messages.map((message) => intent(message))
    const ids: string[] = []
    journal.writeAll(records)
    const end = await transactions.run(async (client) => {
      for (const message of messages) {
        const inside = dueq.in(client).queue<Load>(order.queue)
        ids.push((await inside.enqueue(message.payload, optionsOf(message))).id)
      }
      return isRolledBack ? 'rollback' : 'commit'
    })
    if (end === 'unknown') counts.unknown += records.length
    else {
      const write = end === 'committed' ? committed : failed
      journal.writeAll(records.map((record, index) => write(record, ids[index] ?? (null as never))))
    }
  }

  const underWay = new Set<Promise<void>>()
  const track = (doing: Promise<void>): void => {
    const tracked = doing.finally(() => underWay.delete(tracked))
    underWay.add(tracked)
  }
  const some = (): number => {
    const { way, count, isRolledBack } = drawWay(random)
    const messages = Array.from({ length: count }, draw)
    if (way === 'single') for (const message of messages) track(single(message))
    else if (way === 'many') track(many(messages))
    else if (way === 'dedup') track(dedup(messages[0]!))
    else track(inTransaction(messages, isRolledBack))
    return count
  }
  let last = performance.now()
  let owed = 0
  const timer = setInterval(() => {
    const now = performance.now()
    // What was not enqueued while the process was stopped, or nothing was answered, is not made up for.
    owed = Math.min(owed + ((now - last) * order.rate) / 1000, order.rate / 5 + 40)
    last = now
    while (owed > 0 && now >= restUntil && underWay.size < mostUnderWay) owed -= some()
    counts.held = underWay.size
  }, tickMs)

  return async () => {
    clearInterval(timer)
    await Promise.race([Promise.all(underWay), delay(10_000)])
    await transactions.close()
  }
}

/** Cut like the instants of claims, which come as Dates: one with more digits would be later than a claim in time. */
function toMillisecond(instant: string): string {
  return `${instant.slice(0, 23)}Z`
}
