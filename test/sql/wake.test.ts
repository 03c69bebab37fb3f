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

/** A queue whose consumers have announced that they sleep. */
async function sleeping(settings?: string): Promise<string> {
  const queue = await engine.queue(settings)
  await engine.rows(`update dueq.queues set sleepers_until = dueq.clock() + interval '1 day' where name = $1`, [queue])
  return queue
}

const instant = (id: string) =>
  engine.value('select extract(epoch from ready_at)::text from dueq.message_states where id = $1', [id])

it('promise 6a: a notification names the queue and the instant, in seconds since 1970', async () => {
  const queue = await sleeping()
  const id = await engine.enqueue(queue, `at => '2001-09-09 01:46:40.000123+00'`)
  expect(await notifications()).toEqual([`${queue} 1000000000.000123`])
  expect(await instant(id)).toBe('1000000000.000123')
})

it('promise 6a: it is sent when the transaction commits, and not when it rolls back', async () => {
  const queue = await sleeping()
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

it('promise 6b: a poll interval that changes is told to those who sleep, because producers go by it', async () => {
  const queue = await sleeping(`poll_interval => '1 hour'`)
  const change = (settings: string) => engine.rows(`select dueq.create_queue($1, ${settings})`, [queue])
  await change(`poll_interval => '1 minute'`)
  expect(await notifications()).toEqual([
    `${queue} ${await engine.value('select extract(epoch from dueq.clock())::text')}`,
  ])
  await change(`poll_interval => '1 minute'`)
  await change(`lease => '1 minute'`)
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
    '_enqueue_many_plain',
    `select dueq._enqueue_many_plain($1, '[1, 2]', array[3600000, extract(epoch from $2::text::interval) * 1000], true)`,
  ],
  [
    'enqueue_many at instants',
    `select min(id) from dueq.enqueue_many($1, ${arrays},
       ats => array[dueq.clock() + '1 hour', dueq.clock() + $2::text::interval])`,
  ],
])('promise 6b: %s wakes for what is due within the poll interval, and for nothing later', async (_, text) => {
  const queue = await sleeping(`poll_interval => '7 seconds'`)
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
  const queue = await sleeping(`poll_interval => '7 seconds'`)
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
  const queues = [await sleeping(), await sleeping(), await sleeping()]
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
  const queue = await sleeping(`poll_interval => '7 seconds'`)
  const id = await engine.enqueue(queue, `delay => '1 hour'`)
  await engine.rows(`select dueq.reschedule($1, '8 seconds')`, [id])
  expect(await notifications()).toEqual([])
  await engine.rows(`select dueq.reschedule($1, '6 seconds')`, [id])
  expect(await notifications()).toEqual([`${queue} ${await instant(id)}`])
})

it('promise 6b: a release to the old place, redrive and resume wake at once', async () => {
  const queue = await sleeping()
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
  const queue = await sleeping()
  const [acked, cancelled] = [await engine.enqueue(queue), await engine.enqueue(queue)]
  await notifications()
  await engine.dequeue(queue)
  await engine.rows('select dueq.extend($1, 1), dueq.ack($1, 1), dueq.cancel($2)', [acked, cancelled])
  await engine.rows('select dueq.nack($1, 1), dueq.release($1, 1), dueq.reschedule($1)', [acked])
  expect(await notifications()).toEqual([])
})

it('promise 6c: a transaction that enqueues many messages sends each wake-up once', async () => {
  const queue = await sleeping()
  await engine.rows(`select enqueued.id from generate_series(1, 50), dueq.enqueue($1, '1') enqueued`, [queue])
  expect(await notifications()).toHaveLength(1)
})

const wakers = `
  select id from dueq.enqueue($1, '1');
  select id from dueq.enqueue($1, '1', priority => 1);
  select id from dueq.enqueue($1, '1', dedup_key => 'k');
  select id from dueq.enqueue_many($1, array['1', '2']::jsonb[]);
  select dueq._enqueue_many_plain($1, '[1, 2]', null, true);
  select dueq.nack(id, attempt, 'e', '0') from dueq.dequeue($1);
  select d.id from dueq.dequeue($1) d, dueq.nack_many(array[d.id], array[d.attempt], delays => array['0'::interval]);
  select dueq.release(id, attempt) from dueq.dequeue($1);
  select r.outcome from dueq.dequeue($1) d left join lateral dueq.release_many(array[d.id], array[d.attempt]) r on true;
  select dueq.reschedule((select id from dueq.enqueue($1, '1', '1 hour')), '0');
  select dueq.dead_letter(id, attempt, 'test') from dueq.dequeue($1);
  select id from dueq.redrive($1);
  select dueq.pause_queue($1);
  select dueq.resume_queue($1)`.split(';')

it.each([
  ['null', 'nobody has announced that he sleeps'],
  [`dueq.clock()`, 'the announcement is over'],
])('promise 6b: with sleepers_until at %s nobody is woken: %s', async (until) => {
  const queue = await engine.queue()
  await engine.rows(`update dueq.queues set sleepers_until = ${until} where name = $1`, [queue])
  for (const text of wakers) await engine.rows(text, [queue])
  expect(await notifications()).toEqual([])
})

it('promise 6b: what was ready before now is told, for those who are busy look only at what is ready since', async () => {
  const queue = await engine.queue()
  const id = await engine.enqueue(queue)
  await engine.enqueue(queue, `at => dueq.clock() - interval '49 milliseconds'`)
  await engine.dequeue(queue, 2)
  expect(await notifications()).toEqual([])
  await engine.enqueue(queue, `at => dueq.clock() - interval '51 milliseconds'`)
  expect(await notifications()).toHaveLength(1)
  await engine.travel('1 second')
  await engine.rows('select dueq.release($1, 1)', [id])
  expect(await notifications()).toEqual([`${queue} ${await instant(id)}`])
})

it('promise 6b: each of them wakes while somebody sleeps', async () => {
  for (const text of wakers) {
    const queue = await sleeping()
    if (/redrive/.test(text)) {
      await engine.enqueue(queue)
      await engine.rows(`select dueq.dead_letter(id, attempt, 'test') from dueq.dequeue($1)`, [queue])
    } else if (/dequeue/.test(text)) await engine.enqueue(queue)
    else if (/resume/.test(text)) await engine.rows('select dueq.pause_queue($1)', [queue])
    await notifications()
    await engine.rows(text, [queue])
    expect({ text, count: (await notifications()).length }).toEqual({
      text,
      count: /pause|dead_letter/.test(text) ? 0 : 1,
    })
  }
})

it.each(['repeatable read', 'serializable'] as const)(
  'promise 6b: in a %s transaction, whose snapshot may be older than the announcement, they always wake',
  async (isolation) => {
    const queue = await engine.queue()
    await using session = await engine.session()
    await session.begin(isolation)
    await session.rows('select 1')
    await session.rows(`select id from dueq.enqueue($1, '1')`, [queue])
    await session.commit()
    expect(await notifications()).toHaveLength(1)
  },
)

it.each([
  ['enqueue', `select id from dueq.enqueue($1, '1', wake => false)`],
  ['enqueue with a dedup key', `select id from dueq.enqueue($1, '1', dedup_key => 'k', wake => false)`],
  ['enqueue of a new level', `select id from dueq.enqueue($1, '1', priority => 9, wake => false)`],
  ['enqueue_many', `select min(id) from dueq.enqueue_many($1, ${arrays}, wake => false)`],
  ['_enqueue_many_plain', `select dueq._enqueue_many_plain($1, '[1, 2]', null, false)`],
])('promise 6b: %s with wake => false wakes nobody, and wake does so for it', async (_, text) => {
  const queue = await sleeping()
  await engine.rows(text, [queue])
  expect(await notifications()).toEqual([])
  await engine.rows(`select dueq.wake($1, '2 seconds')`, [queue])
  await engine.rows(`select dueq.wake($1, '-2 seconds')`, [queue])
  await engine.rows(`select dueq.wake($1, '-6 seconds')`, [queue]) // after the poll interval
  const from = (interval: string) =>
    engine.value(`select extract(epoch from dueq.clock() + interval '${interval}')::text`)
  expect(await notifications()).toEqual([
    `${queue} ${await from('-2.05 seconds')}`,
    `${queue} ${await from('2 seconds')}`,
  ])
})

it('promise 6b: wake wakes nobody where nobody sleeps, and knows the queue and its range', async () => {
  const queue = await engine.queue()
  await engine.rows('select dueq.wake($1)', [queue])
  expect(await notifications()).toEqual([])
  expect(await engine.sqlstate(`select dueq.wake('nowhere')`)).toBe('DQ001')
  expect(await engine.sqlstate(`select dueq.wake($1, '-61 minutes')`, [queue])).toBe('DQ002')
  expect(await engine.sqlstate(`select dueq.wake($1, '25 hours')`, [queue])).toBe('DQ002')
  expect(await engine.sqlstate('select dueq.wake($1, null)', [queue])).toBe('DQ002')
})
