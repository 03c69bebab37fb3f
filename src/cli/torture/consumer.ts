/**
 * One consumer process of a torture run: does with each message what the message says, and beside that holds some beyond
 * the end of their lease and settles them all the same, in SQL, where nothing but the fence of the database refuses.
 *
 * Every settle is announced in the journal before it is asked for, so that a kill in between leaves no gap.
 */
import { setTimeout as delay } from 'node:timers/promises'
import type { Query } from '../../driver.js'
import { isDueqError } from '../../errors.js'
import type { Message } from '../../message.js'
import { openPool } from '../../pool.js'
import { statements as statementsOf } from '../../statements.js'
import type { SettledRecord, SettlingRecord } from '../journal.js'
import type { Load } from './load.js'
import { type Member, runMember, statementMs } from './member.js'
import { createRandom } from './random.js'
import { openTransactions, type Transactions } from './transaction.js'

type Numbers = Pick<Message, 'id' | 'attempt'>
type How = SettlingRecord['how']
type Held = [query: Query, id: string, attempt: number]

const concurrency = 40
/** How often, how many at once and in all, and for how long a lease is taken by hand. */
const byHandEveryMs = 200
const byHandMost = 4
const byHandInHand = 16
const longWorkMs = 400

/** Some that come again are held for long: whoever settles late then meets a holder, and not a message that is gone. */
const isHeldLong = (id: string): boolean => Number(id) % 4 === 0
const byHandLeaseMs = 1000
/** Far more than can be claimed by hand until the loss of a lease is told. */
const mostByHand = 1000

await runMember(consume, (event, { journal, clock }) => {
  const settled = (how: How): void => {
    if (!('id' in event)) return
    journal.write({ type: 'settled', id: event.id, attempt: event.attempt, how, at: clock.notAfter() })
  }
  if (event.type === 'message.acked') settled('acked')
  else if (event.type === 'message.released') settled('released')
  else if (event.type === 'message.failed' && event.outcome === 'retry') settled('retried')
  else if (event.type === 'message.failed' && event.outcome === 'dead') settled('dead')
})

// --- internal ---

async function consume(member: Member): Promise<() => Promise<void>> {
  const { order, dueq } = member
  const transactions = await openTransactions(order.url)
  const queue = dueq.queue<Load>(order.queue)
  const consumer = queue.consume((message) => handle(message, member, transactions), { concurrency })
  const stopByHand = holdByHand(member)
  const timer = setInterval(() => {
    const { running, buffered, settling } = consumer.status
    member.counts.held = running + buffered + settling
  }, 50)
  return async () => {
    await stopByHand()
    await consumer.stop({ deadline: '5s' })
    await transactions.close()
    clearInterval(timer)
  }
}

/** Writes down that a message is in hand. Its instant is cut to the millisecond, like that of its lease's end. */
function claimed({ journal, clock, counts, order }: Member, message: Message<Load>, leaseMs: number): void {
  const { id, attempt, dueAt, leaseEndsAt, latenessMs, payload } = message
  counts.claimed++
  journal.write({
    type: 'claimed',
    id,
    attempt,
    consumer: order.name,
    at: new Date(leaseEndsAt.getTime() - leaseMs).toISOString(),
    dueAt: dueAt.toISOString(),
    leaseEndsAt: leaseEndsAt.toISOString(),
    heardBy: clock.notAfter(),
    latenessMs,
    ref: payload.ref,
  })
}

async function handle(message: Message<Load>, member: Member, transactions: Transactions): Promise<void> {
  const { journal, clock, order } = member
  const { id, attempt, payload } = message
  claimed(member, message, order.leaseMs)
  const settling = (how: How): void => journal.write({ type: 'settling', id, attempt, how, at: clock.notBefore() })
  const settled = (how: SettledRecord['how']): void =>
    journal.write({ type: 'settled', id, attempt, how, at: clock.notAfter() })
  /** Says it before and after; one that fails for another reason than the lease is followed by the nack of its handler. */
  const settle = async (how: How, ask: () => Promise<unknown>, isTold = false): Promise<void> => {
    settling(how)
    try {
      await ask()
      if (!isTold) settled(how)
    } catch (error) {
      if (isDueqError(error) && error.code === 'lease.lost') {
        member.counts.refused++
        settled('refused')
      } else settling('retried')
      throw error
    }
  }
  const fail = (what: string): never => {
    settling('retried')
    throw new Error(what)
  }

  await delay(attempt > 1 && isHeldLong(id) ? longWorkMs : payload.workMs)
  const act = attempt === 1 ? payload.act : attempt % 2 ? 'return' : 'acks'
  if (act === 'acks') return settle('acked', () => message.ack(), true)
  if (act === 'nack') return settle('retried', () => message.nack('as told', { delay: payload.workMs * 10 }))
  if (act === 'release') return settle('released', () => message.release({ delay: payload.workMs * 10 }))
  if (act === 'deadLetter') return settle('dead', () => message.deadLetter('as told'))
  if (act === 'throw') return fail('as told')
  if (act === 'crash' && order.isSpared) return fail('spared')
  if (act === 'crash') {
    member.note('crash', id)
    process.kill(process.pid, 'SIGKILL')
  }
  if (act === 'block') {
    member.note('block', id)
    // Without using the processor, which others want.
    Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, order.leaseMs * 1.3)
  }
  if (act === 'extend') {
    try {
      const endsAt = await message.extend(order.leaseMs * 2)
      journal.write({ type: 'extended', id, attempt, leaseEndsAt: endsAt.toISOString() })
    } catch {
      return fail('not extended')
    }
    await delay(payload.workMs * 20)
  }
  if (act === 'transaction' || act === 'rollback') {
    settling('acked')
    const end = await transactions.run(async (client) => {
      await message.in(client).ack()
      return act === 'rollback' ? 'rollback' : 'commit'
    })
    if (end === 'committed') return // told by the event
    return fail(end === 'unknown' ? 'nobody knows' : 'rolled back')
  }
  settling('acked')
}

/** Takes leases that nobody extends, and settles half of them after their end. */
function holdByHand(member: Member): () => Promise<void> {
  const { order, dueq, journal, clock, counts } = member
  const pool = openPool({ url: order.url, max: 1, prepare: false }, statementMs)
  const statements = statementsOf(order.place.schema)
  const random = createRandom(order.seed + 1)
  const over = new AbortController()
  const byHand = {
    acked: async (...held: Held) => ((await statements.ack(...held)) ? 'acked' : 'refused'),
    released: async (...held: Held) => ((await statements.release(...held, 0)) ? 'released' : 'refused'),
    retried: async (...held: Held) => {
      const became = await statements.nack(...held, 'by hand', 50)
      return became === 'retry' ? 'retried' : (became ?? 'refused')
    },
  } satisfies Readonly<Record<string, (...held: Held) => Promise<SettledRecord['how']>>>
  const settle = async ({ id, attempt }: Numbers): Promise<void> => {
    const how = random.weighted({ acked: 6, retried: 2, released: 2 })
    const lateMs = isHeldLong(id) ? longWorkMs / 2 : byHandLeaseMs * (random.next() - 0.1)
    await delay(random.next() < 0.5 ? 10 : byHandLeaseMs + lateMs)
    journal.write({ type: 'settling', id, attempt, how, at: clock.notBefore() })
    const done = await byHand[how](pool.query, id, attempt)
    if (done === 'refused') counts.refused++
    journal.write({ type: 'settled', id, attempt, how: done, at: clock.notAfter() })
  }
  const settling = new Set<Promise<void>>()
  const track = (doing: Promise<void>): void => {
    // Where there is no answer, the journal says what was asked for.
    const tracked: Promise<void> = doing.catch(() => {}).finally(() => settling.delete(tracked))
    settling.add(tracked)
  }
  const loop = async (): Promise<void> => {
    const queue = dueq.queue<Load>(order.queue)
    const { signal } = over
    while (!signal.aborted) {
      try {
        const max = byHandMost
        const messages = await queue.dequeue({ max, lease: byHandLeaseMs, wait: byHandEveryMs, signal })
        for (const message of messages) {
          remember(member.byHand, `${message.id} ${message.attempt}`)
          claimed(member, message, byHandLeaseMs)
          track(settle(message))
        }
      } catch {
        // Told to stop, or no answer: what was claimed comes again.
      }
      await delay(byHandEveryMs, undefined, { signal }).catch(() => {})
      while (settling.size > byHandInHand && !signal.aborted) await Promise.race(settling)
    }
    await Promise.all(settling)
  }
  const running = loop()
  return async () => {
    over.abort()
    await running
    await pool.close()
  }
}

/** Forgets the oldest: a process that lives long is not to grow by what the test does. */
function remember(byHand: Set<string>, numbers: string): void {
  byHand.add(numbers)
  if (byHand.size > mostByHand) byHand.delete(byHand.values().next().value!)
}
