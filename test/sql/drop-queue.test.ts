import { afterAll, beforeAll, beforeEach, expect, it } from 'vitest'
import { blocked } from '../support/sessions.js'
import { type Engine, type EngineSession, startEngine } from './engine.js'

let engine: Engine
let other: EngineSession
let queue: string
beforeAll(async () => {
  engine = await startEngine()
  other = await engine.session()
})
afterAll(() => engine.close())
beforeEach(async () => {
  queue = await engine.queue()
})

const orphans = () =>
  engine.value('select count(*) from dueq.messages where queue_id not in (select id from dueq.queues)')
const exists = async () =>
  (await engine.value('select count(*) from dueq.queue_settings where queue = $1', [queue])) === '1'

it('promise 2d: an empty queue can be dropped, and its name used again', async () => {
  await engine.rows('select dueq.drop_queue($1)', [queue])
  expect(await exists()).toBe(false)
  expect(await engine.sqlstate('select dueq.drop_queue($1)', [queue])).toBe('DQ001')
  expect(await engine.value('select dueq.create_queue($1)', [queue])).toBe('created')
})

it('promise 2d: a queue that holds messages or dead letters is not dropped', async () => {
  await engine.enqueue(queue, `delay => '1 day'`)
  expect(await engine.sqlstate('select dueq.drop_queue($1)', [queue])).toBe('DQ006')
  await engine.rows('select dueq.purge($1)', [queue])
  await engine.enqueue(queue)
  await engine.rows(`select dueq.dead_letter(id, attempt, 'test') from dueq.dequeue($1)`, [queue])
  expect(await engine.sqlstate('select dueq.drop_queue($1)', [queue])).toBe('DQ006')
  await engine.rows('select dueq.purge_dead($1)', [queue])
  await engine.rows('select dueq.drop_queue($1)', [queue])
  expect(await exists()).toBe(false)
})

it.each([
  ['enqueue', `select id from dueq.enqueue($1, '1')`],
  ['enqueue of a new level', `select id from dueq.enqueue($1, '1', priority => 9)`],
  ['enqueue with a dedup key', `select id from dueq.enqueue($1, '1', dedup_key => 'k')`],
  ['enqueue_many', `select id from dueq.enqueue_many($1, array['1', '2']::jsonb[])`],
  ['_enqueue_many_plain', `select dueq._enqueue_many_plain($1, '[1, 2]', null, true)`],
  ['enqueue_many with keys', `select id from dueq.enqueue_many($1, array['1']::jsonb[], dedup_keys => array['k'])`],
])('promise 2d: %s waits for a drop in another transaction, and finds the queue gone', async (_, text) => {
  await other.begin()
  await other.rows('select dueq.drop_queue($1)', [queue])
  const waiting = engine.sqlstate(text, [queue])
  expect(await blocked(engine.pid)).toEqual([other.pid])
  await other.commit()
  expect(await waiting).toBe('DQ001')
  expect(await orphans()).toBe('0')
})

it('promise 2d: and goes on when the drop is rolled back', async () => {
  await other.begin()
  await other.rows('select dueq.drop_queue($1)', [queue])
  const waiting = engine.enqueue(queue)
  expect(await blocked(engine.pid)).toEqual([other.pid])
  await other.rollback()
  const id = await waiting
  expect(await engine.dequeue(queue)).toEqual([{ id, attempt: 1 }])
})

it('promise 2d: a drop gives up while a transaction that has enqueued is open', async () => {
  await other.begin()
  await other.rows(`select id from dueq.enqueue($1, '1')`, [queue])
  expect(await engine.sqlstate('select dueq.drop_queue($1)', [queue])).toBe('55P03')
  await other.commit()
  expect(await engine.sqlstate('select dueq.drop_queue($1)', [queue])).toBe('DQ006')
  expect(await engine.dequeue(queue)).toHaveLength(1)
})

it('promise 2d: a drop that waits sees the message of the enqueue it waited for', async () => {
  await other.begin()
  await other.rows(`select id from dueq.enqueue($1, '1')`, [queue])
  const waiting = engine.sqlstate('select dueq.drop_queue($1)', [queue])
  expect(await blocked(engine.pid)).toEqual([other.pid])
  await other.commit()
  expect(await waiting).toBe('DQ006')
})

it.each(['repeatable read', 'serializable'] as const)(
  'promise 2d: a %s transaction that began before the drop cannot enqueue',
  async (isolation) => {
    await other.begin(isolation)
    await other.rows('select 1 from dueq.queues')
    await engine.rows('select dueq.drop_queue($1)', [queue])
    expect(await other.sqlstate(`select id from dueq.enqueue($1, '1')`, [queue])).toBe('40001')
    await other.rollback()
    expect(await orphans()).toBe('0')
  },
)

it.each(['repeatable read', 'serializable'] as const)(
  'promise 2d: nor can a %s transaction drop a queue whose latest message it does not see',
  async (isolation) => {
    await other.begin(isolation)
    await other.rows('select 1 from dueq.queues')
    const id = await engine.enqueue(queue)
    expect(await other.sqlstate('select dueq.drop_queue($1)', [queue])).toBe('0A000')
    await other.rollback()
    expect(await engine.dequeue(queue)).toEqual([{ id, attempt: 1 }])
  },
)

it('promise 2d: the number of a dropped queue is not used again', async () => {
  const numberOf = () => engine.value<number>('select id from dueq.queues where name = $1', [queue])
  const before = await numberOf()
  await engine.rows('select dueq.drop_queue($1)', [queue])
  await engine.rows('select dueq.create_queue($1)', [queue])
  expect(await numberOf()).toBeGreaterThan(before)
})
