import { setTimeout as delay } from 'node:timers/promises'
import pg from 'pg'
import { afterAll, beforeAll, expect, inject, it } from 'vitest'
import { type Engine, startEngine } from './engine.js'

let engine: Engine
let listener: pg.Client
const heard: string[] = []
beforeAll(async () => {
  engine = await startEngine()
  listener = new pg.Client({ connectionString: inject('databaseUrl') })
  await listener.connect()
  listener.on('notification', ({ payload }) => heard.push(payload ?? ''))
  await listener.query(`listen ${engine.schema}`)
})
afterAll(async () => {
  await listener.end()
  await engine.close()
})

/** What is notified up to here: notifications keep their order, so the one sent here is the last. */
async function notifications(): Promise<readonly string[]> {
  await engine.rows(`notify ${engine.schema}, 'end'`)
  while (!heard.includes('end')) await delay(1)
  return heard.splice(0).filter((payload) => payload !== 'end')
}

const instant = (id: string) =>
  engine.value('select extract(epoch from ready_at)::text from dueq.message_states where id = $1', [id])

it('promise 6a: a notification names the queue and the instant, in seconds since 1970', async () => {
  const queue = await engine.queue()
  const id = await engine.enqueue(queue, `at => '2001-09-09 01:46:40.000123+00'`)
  expect(await notifications()).toEqual([`${queue} 1000000000.000123`])
  expect(await instant(id)).toBe('1000000000.000123')
})

it('promise 6a: it is sent when the transaction commits, and not when it rolls back', async () => {
  const queue = await engine.queue()
  await using session = await engine.session()
  await session.begin()
  await session.rows(`select id from dueq.enqueue($1, '1')`, [queue])
  expect(await notifications()).toEqual([])
  await session.commit()
  expect(await notifications()).toHaveLength(1)
  await session.begin()
  await session.rows(`select id from dueq.enqueue($1, '1')`, [queue])
  await session.rollback()
  expect(await notifications()).toEqual([])
})

const arrays = `array['1', '2']::jsonb[]`

it.each([
  ['enqueue', `select id from dueq.enqueue($1, '1', $2::text::interval)`],
  ['enqueue with a dedup key', `select id from dueq.enqueue($1, '1', $2::text::interval, dedup_key => 'k')`],
  [
    'enqueue_many',
    `select min(id) from dueq.enqueue_many($1, ${arrays}, delays => array[interval '1 hour', $2::text::interval])`,
  ],
  [
    'enqueue_many at instants',
    `select min(id) from dueq.enqueue_many($1, ${arrays},
       ats => array[dueq.clock() + '1 hour', dueq.clock() + $2::text::interval])`,
  ],
])('promise 6b: %s wakes for what is due within the poll interval, and for nothing later', async (_, text) => {
  const queue = await engine.queue(`poll_interval => '7 seconds'`)
  await engine.rows(text, [queue, '7.000001 seconds'])
  expect(await notifications()).toEqual([])
  await engine.rows('select dueq.purge($1)', [queue])
  await engine.rows(text, [queue, '7 seconds'])
  const dueAt = await engine.value(`select extract(epoch from dueq.clock() + interval '7 seconds')::text`)
  expect(await notifications()).toEqual([`${queue} ${dueAt}`])
})

it.each([
  ['nack', `select dueq.nack($1, 1, 'e', $2::text::interval)`],
  ['nack_many', `select id from dueq.nack_many(array[$1::bigint], array[1], delays => array[$2::text::interval])`],
  ['release', 'select dueq.release($1, 1, $2::text::interval)'],
  ['release_many', 'select id from dueq.release_many(array[$1::bigint], array[1], array[$2::text::interval])'],
])('promise 6b: %s wakes within the poll interval, and not beyond', async (_, text) => {
  const queue = await engine.queue(`poll_interval => '7 seconds'`)
  for (const [interval, count] of [
    ['7.000001 seconds', 0],
    ['7 seconds', 1],
  ] as const) {
    const id = await engine.enqueue(queue)
    await engine.dequeue(queue)
    await notifications()
    await engine.rows(text, [id, interval])
    expect(await notifications()).toEqual(Array(count).fill(`${queue} ${await instant(id)}`))
  }
})

it.each([
  ['nack_many', 'select id from dueq.nack_many($1, $2, null, $3)'],
  ['release_many', 'select id from dueq.release_many($1, $2, $3)'],
])('promise 6b: %s wakes each queue once, for what is ready there first', async (_, text) => {
  const queues = [await engine.queue(), await engine.queue(), await engine.queue()]
  const ids: string[] = []
  for (let i = 0; i < 7; i++) ids.push(await engine.enqueue(queues[i % 3]!))
  for (const queue of queues) await engine.dequeue(queue, 10)
  await notifications()
  // The third queue has nothing within its poll interval of 5 s.
  const delays = ['3 s', '4 s', '6 s', '1 s', '2 s', '7 s', '2 s']
  await engine.rows(text, [ids, ids.map(() => 1), delays])
  expect([...(await notifications())].sort()).toEqual([
    `${queues[0]} ${await instant(ids[3]!)}`,
    `${queues[1]} ${await instant(ids[4]!)}`,
  ])
})

it('promise 6b: reschedule wakes within the poll interval, and not beyond', async () => {
  const queue = await engine.queue(`poll_interval => '7 seconds'`)
  const id = await engine.enqueue(queue, `delay => '1 hour'`)
  await engine.rows(`select dueq.reschedule($1, '8 seconds')`, [id])
  expect(await notifications()).toEqual([])
  await engine.rows(`select dueq.reschedule($1, '6 seconds')`, [id])
  expect(await notifications()).toEqual([`${queue} ${await instant(id)}`])
})

it('promise 6b: a release to the old place, redrive and resume wake at once', async () => {
  const queue = await engine.queue()
  const id = await engine.enqueue(queue)
  await engine.dequeue(queue)
  await notifications()
  await engine.rows('select dueq.release($1, 1)', [id])
  expect(await notifications()).toHaveLength(1)
  await engine.rows(`select dueq.dead_letter(id, attempt, 'test') from dueq.dequeue($1)`, [queue])
  expect(await notifications()).toEqual([])
  await engine.rows('select id from dueq.redrive($1)', [queue])
  expect(await notifications()).toHaveLength(1)
  await engine.rows('select id from dueq.redrive($1)', [queue])
  await engine.rows('select dueq.pause_queue($1)', [queue])
  expect(await notifications()).toEqual([])
  await engine.rows('select dueq.resume_queue($1)', [queue])
  expect(await notifications()).toHaveLength(1)
  await engine.rows('select dueq.resume_queue($1)', [queue])
  expect(await notifications()).toEqual([])
})

it('promise 6b: dequeue, ack, extend, cancel and a refused settle wake nobody', async () => {
  const queue = await engine.queue()
  const [acked, cancelled] = [await engine.enqueue(queue), await engine.enqueue(queue)]
  await notifications()
  await engine.dequeue(queue)
  await engine.rows('select dueq.extend($1, 1), dueq.ack($1, 1), dueq.cancel($2)', [acked, cancelled])
  await engine.rows('select dueq.nack($1, 1), dueq.release($1, 1), dueq.reschedule($1)', [acked])
  expect(await notifications()).toEqual([])
})

it('promise 6c: a transaction that enqueues many messages sends each wake-up once', async () => {
  const queue = await engine.queue()
  await engine.rows(`select enqueued.id from generate_series(1, 50), dueq.enqueue($1, '1') enqueued`, [queue])
  expect(await notifications()).toHaveLength(1)
})
