// What the doctor says of queues in which something waits: paused, without consumers, passed over, late, crashing, dead.
import { afterEach, beforeEach, expect, it } from 'vitest'
import { type Engine, startEngine } from '../sql/engine.js'

// A schema for each test: sessions that listen on it or poll it are evidence.
let engine: Engine
let queue: string
beforeEach(async () => {
  engine = await startEngine()
  queue = await engine.queue()
})
afterEach(() => engine.close())

const allNames = [
  'paused queues',
  'consumers gone',
  'consumers stuck',
  'late queues',
  'slow looks',
  'full queues',
  'lapsed leases',
  'dead letters',
]

/** The checks of queues that fail, with what they found. */
async function failing(): Promise<Readonly<Record<string, string>>> {
  const rows = await engine.rows<{ check: string; detail: string }>(
    'select "check", detail from dueq.doctor() where not ok',
  )
  const named = rows.filter((row) => allNames.includes(row.check))
  return Object.fromEntries(named.map((row) => [row.check, row.detail]))
}

it('a paused queue in which messages wait: how many, for how long, and since when it is paused', async () => {
  await engine.rows('select dueq.pause_queue($1)', [queue])
  const [{ since } = { since: '' }] = await engine.rows(`select date_trunc('second', dueq.clock())::text as since`)
  expect(await failing()).toEqual({})
  await engine.enqueue(queue)
  await engine.travel('90 seconds')
  await engine.enqueue(queue)
  await engine.enqueue(queue, `delay => '1 hour'`)
  expect(await failing()).toEqual({
    'paused queues': `${queue} (2 waiting, the oldest for 00:01:30, paused since ${since})`,
  })
})

it('a look at everything takes long, because a snapshot keeps the entries of what is gone', async () => {
  await engine.unfreeze()
  await engine.rows(`select dueq.create_queue($1, poll_interval => '100 milliseconds')`, [queue])
  expect(await failing()).toEqual({})
  await using holder = await engine.session()
  await holder.begin('repeatable read')
  await holder.rows('select from dueq.messages')
  await engine.rows(`select count(*) from dueq.enqueue_many($1, array_fill('1'::jsonb, array[100000]))`, [queue])
  await engine.rows('select dueq.purge($1, max => 100000)', [queue])
  expect((await failing())['slow looks']).toMatch(new RegExp(`^${queue} \\(\\d+ ms\\)$`))
})

it('a long backlog is counted to a thousand only', async () => {
  await engine.rows(`select count(*) from dueq.enqueue_many($1, array_fill('1'::jsonb, array[1500]))`, [queue])
  await engine.rows('select dueq.pause_queue($1)', [queue])
  expect((await failing())['paused queues']).toMatch(/ \(at least 1000 waiting, /)
})

it('consumers are gone: something is ready for longer than a poll interval, nothing is leased, nobody listens', async () => {
  await engine.enqueue(queue)
  await engine.travel('15 seconds')
  expect(await failing()).toEqual({})
  await engine.travel('1 second')
  expect(await failing()).toEqual({ 'consumers gone': `${queue} (1 waiting, the oldest for 00:00:16)` })
})

it('consumers are stuck: sessions listen on the schema, and yet nothing of a queue is leased', async () => {
  await using listener = await engine.session()
  await listener.rows(`listen "${engine.schema}"`)
  await engine.enqueue(queue)
  await engine.travel('1 minute')
  expect(await failing()).toEqual({})
  await engine.travel('1 second')
  expect(await failing()).toEqual({ 'consumers stuck': `${queue} (1 waiting, the oldest for 00:01:01)` })
})

it('a session that has polled of late counts as a consumer, one that polled long ago does not', async () => {
  await using poller = await engine.session()
  await engine.enqueue(queue)
  await engine.travel('20 seconds')
  await poller.rows(`select id from dueq.poll('${await engine.queue()}')`)
  expect(await failing()).toEqual({})
  await engine.travel('50 seconds')
  expect(Object.keys(await failing())).toEqual(['consumers gone'])
})

it('a queue is late, not without consumers, while others of its messages are leased', async () => {
  await engine.rows(`select count(*) from dueq.enqueue_many($1, array_fill('1'::jsonb, array[3]))`, [queue])
  await engine.travel('61 seconds')
  expect(await engine.dequeue(queue, 2)).toHaveLength(2)
  expect(await failing()).toEqual({ 'late queues': `${queue} (1 waiting, the oldest for 00:01:01)` })
})

it('consumers that crash or hang: many of the next messages have lapsed before, and who held them', async () => {
  await engine.rows(`select count(*) from dueq.enqueue_many($1, array_fill('1'::jsonb, array[12]))`, [queue])
  await engine.rows(`select id from dueq.dequeue($1, 9, '10 s', 'crasher')`, [queue])
  await engine.travel('11 seconds')
  expect(await failing()).toEqual({})
  await engine.rows(`select id from dueq.dequeue($1, 1, '10 s', 'another')`, [queue])
  await engine.rows(`select id from dueq.dequeue($1, 2, '10 s', 'another')`, [queue])
  await engine.rows('select dueq.release(id, attempt) from dueq.dequeue($1, 1)', [queue])
  await engine.rows(`update dueq.messages set leased_by = 'crasher'`)
  await engine.travel('11 seconds')
  expect(await failing()).toMatchObject({ 'lapsed leases': `${queue} (12 of the next have lapsed, of crasher)` })
})

it('dead letters, by queue', async () => {
  await engine.enqueue(queue)
  await engine.rows(`select dueq.dead_letter(id, attempt, 'test') from dueq.dequeue($1)`, [queue])
  expect(await failing()).toEqual({ 'dead letters': `${queue} (1)` })
})

it('a queue at its max_depth refused producers within the last minute, and has no room since', async () => {
  await engine.unfreeze() // counting takes a moment
  await engine.rows('select dueq.create_queue($1, max_depth => 2)', [queue])
  const id = await engine.enqueue(queue, `delay => '1 day'`)
  await engine.enqueue(queue, `delay => '1 day'`)
  expect(await failing()).toEqual({})
  expect(await engine.sqlstate(`select id from dueq.enqueue($1, '1')`, [queue])).toBe('DQ007')
  expect(await failing()).toEqual({ 'full queues': `${queue} (max_depth 2)` })
  await engine.travel('61 seconds')
  expect(await failing()).toEqual({})
  expect(await engine.sqlstate(`select id from dueq.enqueue($1, '1')`, [queue])).toBe('DQ007')
  expect(await failing()).toEqual({ 'full queues': `${queue} (max_depth 2)` })
  await engine.rows('select dueq.cancel($1)', [id])
  await engine.enqueue(queue, `delay => '1 day'`)
  await engine.rows('select dueq.create_queue($1, max_depth => 3)', [queue])
  expect(await failing()).toEqual({})
})
