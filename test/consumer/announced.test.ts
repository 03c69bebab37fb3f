// Producers may know that nobody sleeps, and be told too late that somebody does. Whatever the order is in which they read and
// write, a message that they commit is delivered by something else than the poll interval, which is an hour here.
import { afterAll, afterEach, beforeAll, expect } from 'vitest'
import type { Message } from '../../src/index.js'
import type { QueueHandle } from '../../src/queue.js'
import { itListens, startClient, type TestClient } from '../client/client.js'
import { blocked, closeSessions, openSession, type Session } from '../support/sessions.js'

let test: TestClient
beforeAll(async () => {
  test = await startClient()
})
afterEach(() => closeSessions())
afterAll(() => test.close())

const enqueueIn = (session: Session, queue: QueueHandle<unknown, unknown>, delay: string | null = null) =>
  session.query(`select id from ${test.schema}.enqueue($1, '1', $2::text::interval)`, [queue.name, delay])

/** A consumer that has looked, found nothing, and looked again if it wanted to. */
async function asleep(queue: QueueHandle<unknown, unknown>, meanwhile: () => Promise<unknown> = async () => {}) {
  const handled: string[] = []
  const consumer = queue.consume((message: Message) => void handled.push(message.id))
  await expect.poll(() => test.dueq.check()).toMatchObject({ isListening: true })
  await expect.poll(() => consumer.status.lastClaimAt).not.toBeNull()
  await meanwhile()
  return { consumer, handled: () => handled.length }
}

itListens.each([null, '300 milliseconds'])(
  'promise 6: a transaction that enqueued before anybody slept wakes whoever sleeps when it commits (delay %s)',
  async (delay) => {
    const queue = await test.queue({ pollInterval: '1h' })
    await using session = await openSession()
    await session.begin()
    await enqueueIn(session, queue, delay)
    const { consumer, handled } = await asleep(queue)
    await session.commit()
    await expect.poll(handled).toBe(1)
    await consumer.stop()
  },
)

itListens(
  'promise 6: a transaction with a snapshot from before anybody slept wakes whoever sleeps when it commits',
  async () => {
    const queue = await test.queue({ pollInterval: '1h' })
    await using session = await openSession()
    await session.begin('repeatable read')
    await session.query(`select from ${test.schema}.queues`)
    const { consumer, handled } = await asleep(queue, () => enqueueIn(session, queue))
    await session.commit()
    await expect.poll(handled).toBe(1)
    await consumer.stop()
  },
)

itListens.each([
  ['enqueue', `select id from dueq.enqueue($1, '1')`],
  ['enqueue with a dedup key', `select id from dueq.enqueue($1, '1', dedup_key => 'k')`],
  ['enqueue with a priority', `select id from dueq.enqueue($1, '1', priority => 3)`],
  ['enqueue_many', `select id from dueq.enqueue_many($1, array['1']::jsonb[])`],
  ['_enqueue_many_plain', `select dueq._enqueue_many_plain($1, '[1]', null, true)`],
])(
  'promise 6: %s that has read the queue, and not yet written, when the consumer falls asleep wakes it',
  async (_, text) => {
    const queue = await test.queue({ pollInterval: '1h' })
    const { sql, schema } = test
    await queue.enqueue(0, { priority: 3 })
    await queue.purge()
    // Before a row is written its transaction has no number: nobody can know that it is there.
    await sql.unsafe(`
      create or replace function ${schema}.halt() returns trigger language plpgsql as $$
      begin
        perform pg_advisory_xact_lock_shared(hashtext('${schema}'));
        return new;
      end $$;
      create trigger halt before insert on ${schema}.messages for each row execute function ${schema}.halt()`)
    try {
      await using gate = await openSession()
      await gate.query('select pg_advisory_lock(hashtext($1))', [schema])
      await using producer = await openSession()
      const enqueueing = producer.query(text.replaceAll('dueq.', `${schema}.`), [queue.name])
      await blocked(producer.pid)
      const { consumer, handled } = await asleep(queue)
      await gate.close()
      await enqueueing
      await expect.poll(handled).toBe(1)
      await consumer.stop()
    } finally {
      await sql.unsafe(`drop trigger halt on ${schema}.messages`)
    }
  },
)

itListens.each([
  ['release', 'select dueq.release($1, 1)'],
  ['nack', `select dueq.nack($1, 1, 'e', '300 milliseconds')`],
  ['release_many', 'select id from dueq.release_many(array[$1::bigint], array[1])'],
  ['nack_many', `select id from dueq.nack_many(array[$1::bigint], array[1], delays => array[interval '0'])`],
  ['reschedule', 'select dueq.reschedule($1)'],
])(
  'promise 6: %s in a transaction from before anybody slept wakes whoever sleeps when it commits',
  async (verb, text) => {
    const queue = await test.queue({ pollInterval: '1h', lease: '1h' })
    const { id } = await queue.enqueue(1, verb === 'reschedule' ? { delay: '1h' } : {})
    await queue.dequeue()
    await using session = await openSession()
    await session.begin()
    await session.query(text.replaceAll('dueq.', `${test.schema}.`), [id])
    const { consumer, handled } = await asleep(queue)
    await session.commit()
    await expect.poll(handled).toBe(1)
    await consumer.stop()
  },
)
