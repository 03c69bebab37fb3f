import { setTimeout as delay } from 'node:timers/promises'
import pg from 'pg'
import { afterAll, beforeAll, expect, it } from 'vitest'
import type { DueqInTransaction } from '../../src/connect.js'
import type { Dueq, Message } from '../../src/index.js'
import type { QueueHandle } from '../../src/queue.js'
import { codeOf, startClient, type TestClient } from '../client/client.js'
import { openSession, type Session } from '../support/sessions.js'

let test: TestClient
let dueq: Dueq
let session: Session
beforeAll(async () => {
  test = await startClient()
  dueq = test.dueq
  session = await openSession(test.url)
})
afterAll(async () => {
  await session.close()
  await test.close()
})

const levels = ['repeatable read', 'serializable'] as const

/** The transaction of the session, as dueq takes it. */
const transaction = (text: string, params: (string | null)[]): Promise<readonly unknown[]> =>
  session.query(text, params)

type Scene = {
  readonly queue: QueueHandle<unknown, unknown>
  /** A message that is ready when the transaction takes its snapshot. */
  readonly id: string
  /** And one that is leased. */
  readonly message: Message
  readonly inside: DueqInTransaction
}
type Act = (scene: Scene) => Promise<unknown>

/** A queue with one ready and one leased message. */
async function scene(): Promise<Scene> {
  const queue = await test.queue({ lease: '1m' })
  await queue.enqueue('leased', { dedupKey: 'leased', priority: -1 })
  const [message] = await queue.dequeue()
  const { id } = await queue.enqueue('ready', { dedupKey: 'ready' })
  return { queue, id, message: message!, inside: dueq.in(transaction) }
}

/** Rows that no queue owns, of any queue. */
async function orphanCount(): Promise<number> {
  const name = test.sql(test.schema)
  const [row] = await test.sql`
    select count(*)::int as count from ${name}.messages where queue_id not in (select id from ${name}.queues)`
  return row!['count'] as number
}

const verbs: Readonly<Record<string, Act>> = {
  enqueue: ({ inside, queue }) => inside.queue(queue.name).enqueue(1),
  'enqueue with a new priority': ({ inside, queue }) => inside.queue(queue.name).enqueue(1, { priority: 5 }),
  'enqueue with a dedup key': ({ inside, queue }) => inside.queue(queue.name).enqueue(1, { dedupKey: 'ready' }),
  enqueueMany: ({ inside, queue }) =>
    inside.queue(queue.name).enqueueMany([{ payload: 1 }, { payload: 2, dedupKey: 'ready' }]),
  dequeue: ({ queue }) => session.query(`select id from ${test.schema}.dequeue($1, 10)`, [queue.name]).catch(asDueq),
  cancel: ({ inside, id }) => inside.cancel(id),
  reschedule: ({ inside, id }) => inside.reschedule(id, { delay: '1h' }),
  ack: ({ message }) => message.in(transaction).ack(),
  nack: ({ message }) => message.in(transaction).nack('no'),
  release: ({ message }) => message.in(transaction).release(),
  deadLetter: ({ message }) => message.in(transaction).deadLetter('unwanted'),
}

/** A statement of the session itself: its error by SQLSTATE, 40001 in the words of dueq. */
function asDueq(error: unknown): never {
  const { code } = error as { readonly code: string }
  throw Object.assign(new Error(String(error)), { code: code === '40001' ? 'transaction.conflict' : code })
}

it.each(levels.flatMap((level) => Object.keys(verbs).map((verb) => [level, verb] as const)))(
  'promise 8: in a %s transaction that nobody crosses, %s works and commits or rolls back with it',
  async (level, verb) => {
    const stage = await scene()
    const before = await stage.queue.stats()
    await session.begin(level)
    await session.query('select 1')
    await verbs[verb]!(stage)
    await session.rollback()
    expect(await stage.queue.stats()).toMatchObject({ ready: before.ready, leased: before.leased, dead: 0 })
    await session.begin(level)
    await verbs[verb]!(stage)
    await session.commit()
    const { delayed, ready, leased, dead } = await stage.queue.stats()
    const expected: Record<string, readonly number[]> = {
      enqueue: [0, 2, 1, 0],
      'enqueue with a new priority': [0, 2, 1, 0],
      'enqueue with a dedup key': [0, 1, 1, 0],
      enqueueMany: [0, 2, 1, 0],
      dequeue: [0, 0, 2, 0],
      cancel: [0, 0, 1, 0],
      reschedule: [1, 0, 1, 0],
      ack: [0, 1, 0, 0],
      nack: [1, 1, 0, 0],
      release: [0, 2, 0, 0],
      deadLetter: [0, 1, 0, 1],
    }
    expect([delayed, ready, leased, dead]).toEqual(expected[verb])
  },
)

/** What others commit between the snapshot and the verb. */
const crossings: Readonly<Record<string, Act>> = {
  'the queue is dropped': async ({ queue }) => {
    await queue.purge({ includeLeased: true })
    await queue.drop()
  },
  'the messages are gone': ({ queue }) => queue.purge({ includeLeased: true }),
  'the other message is claimed too': ({ queue }) => queue.dequeue(),
  'the lease is extended, the other rescheduled': async ({ message, id }) => {
    await message.extend('2m')
    await dueq.reschedule(id, { delay: '10m' })
  },
  'a new priority comes up': ({ queue }) => queue.enqueue(2, { priority: 7 }),
}

const settles = ['ack', 'nack', 'release', 'deadLetter']
const withKeyOfReady = ['enqueue with a dedup key', 'enqueueMany']

/** Whom a crossing touches: these must fail, the others must work. */
const conflicting: Readonly<Record<string, readonly string[]>> = {
  'the queue is dropped': Object.keys(verbs),
  'the messages are gone': ['cancel', 'reschedule', 'dequeue', ...settles],
  'the other message is claimed too': ['cancel', 'reschedule', 'dequeue', ...withKeyOfReady],
  'the lease is extended, the other rescheduled': ['cancel', 'reschedule', 'dequeue', ...settles, ...withKeyOfReady],
  'a new priority comes up': ['enqueue with a new priority'],
}

it.each(Object.keys(crossings).flatMap((crossing) => Object.keys(verbs).map((verb) => [crossing, verb] as const)))(
  'promise 8: %s since the snapshot of a repeatable read transaction: %s is a conflict where it would be wrong, and runs the second time',
  async (crossing, verb) => {
    const stage = await scene()
    await session.begin('repeatable read')
    await session.query(`select 1 from ${test.schema}.messages`)
    await crossings[crossing]!(stage)
    const code = await codeOf(verbs[verb]!(stage))
    await session.rollback()
    expect(code).toBe(conflicting[crossing]!.includes(verb) ? 'transaction.conflict' : 'none')
    expect(await orphanCount()).toBe(0)

    await session.begin('repeatable read')
    const again = await codeOf(verbs[verb]!(stage))
    await session.rollback()
    expect(again).not.toBe('transaction.conflict')
  },
)

it.each(levels)(
  'promise 8: in a %s transaction the ack comes before the work: a lease extended since the snapshot is a conflict',
  async (level) => {
    const queue = await test.queue({ lease: '3s', backoff: { base: '0ms' }, pollInterval: '100ms' })
    const codes: string[] = []
    await queue.enqueue('x')
    await using consumer = queue.consume(async (message) => {
      const isAckFirst = message.attempt > 1
      await session.begin(level)
      await session.query(`select 1 from ${test.schema}.queues`)
      if (isAckFirst) await message.in(transaction).ack()
      else await message.extend() // what a consumer does by itself when a third of the lease is used
      await delay(100)
      const code = isAckFirst ? 'none' : await codeOf(message.in(transaction).ack())
      codes.push(code)
      await session.query(code === 'none' ? 'commit' : 'rollback')
      if (code !== 'none') throw new Error(code)
    })
    await expect.poll(() => codes, { timeout: 10_000 }).toEqual(['transaction.conflict', 'none'])
    await expect.poll(() => consumer.status, { timeout: 10_000 }).toMatchObject({ running: 0, settling: 0 })
    expect(await queue.stats()).toMatchObject({ delayed: 0, ready: 0, leased: 0, lapsed: 0, dead: 0 })
  },
)

it.each(levels)(
  'promise 8: with %s as the default of the role, producers and consumers go on over conflicts',
  async (level) => {
    const pool = new pg.Pool({
      connectionString: test.url,
      max: 4,
      options: `-c default_transaction_isolation=${level.replace(' ', '\\ ')}`,
    })
    const inLevel = test.another({ pool })
    const { name } = await test.queue({ pollInterval: '200ms' })
    const queue = inLevel.queue(name)
    const handled = new Map<string, number>()
    const consumers = [0, 1].map(() => queue.consume(({ id }) => void handled.set(id, (handled.get(id) ?? 0) + 1)))
    const enqueue = async (i: number): Promise<string> => {
      for (;;) {
        try {
          return (await queue.enqueue(i, { dedupKey: `${i}`, priority: i % 3 })).id
        } catch (error) {
          expect((error as { readonly code: string }).code).toBe('transaction.conflict')
        }
      }
    }
    const ids = await Promise.all(Array.from({ length: 60 }, (_, i) => enqueue(i)))
    await expect.poll(() => ids.filter((id) => !handled.has(id)), { timeout: 10_000 }).toEqual([])
    await Promise.all(consumers.map((consumer) => consumer.stop({ mode: 'drain', deadline: '10s' })))
    expect([...handled.values()].filter((count) => count > 1)).toEqual([])
    expect(await test.dueq.queue(name).stats()).toMatchObject({ ready: 0, leased: 0, lapsed: 0, dead: 0 })
    await inLevel.close()
    await pool.end()
  },
)
