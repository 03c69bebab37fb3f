import { afterAll, beforeAll, expect, it } from 'vitest'
import { type Engine, type EngineSession, startEngine } from './engine.js'

let engine: Engine
let session: EngineSession
beforeAll(async () => {
  engine = await startEngine()
  session = await engine.session()
})
afterAll(() => engine.close())

const stateOf = (id: string) => engine.value('select state from dueq.message_states where id = $1', [id])

it('promise 4: what a transaction enqueues is there when it commits, not before', async () => {
  const queue = await engine.queue()
  await session.begin()
  const id = await session.value(`select id from dueq.enqueue($1, '1')`, [queue])
  await session.rows(`select id from dueq.enqueue_many($1, array['2', '3']::jsonb[])`, [queue])
  expect(await engine.dequeue(queue, 10)).toEqual([])
  await session.commit()
  expect(await engine.dequeue(queue, 10)).toHaveLength(3)
  expect(await stateOf(id)).toBe('leased')
})

it('promise 4: what it enqueued is gone when it rolls back, the new level of priority included', async () => {
  const queue = await engine.queue()
  await session.begin()
  await session.rows(`select id from dueq.enqueue($1, '1', priority => 3)`, [queue])
  await session.rollback()
  expect(await engine.dequeue(queue, 10)).toEqual([])
  expect(await engine.value('select priorities::integer[] from dueq.queue_settings where queue = $1', [queue])).toEqual(
    [0],
  )
})

it.each([
  ['ack', 'select dueq.ack($1, 1)'],
  ['ack_many', 'select id from dueq.ack_many(array[$1::bigint], array[1])'],
  ['nack', 'select dueq.nack($1, 1)'],
  ['nack_many', 'select id from dueq.nack_many(array[$1::bigint], array[1])'],
  ['release', 'select dueq.release($1, 1)'],
  ['release_many', 'select id from dueq.release_many(array[$1::bigint], array[1])'],
  ['dead_letter', `select dueq.dead_letter($1, 1, 'bad')`],
  ['extend', `select dueq.extend($1, 1, '1 hour')`],
])('promise 4: %s rolls back with the transaction of its caller, and the lease stands', async (_, text) => {
  const queue = await engine.queue()
  const id = await engine.enqueue(queue)
  await engine.dequeue(queue)
  const leaseEndsAt = () => engine.value('select ready_at::text from dueq.message_states where id = $1', [id])
  const before = await leaseEndsAt()
  await session.begin()
  await session.rows(text, [id])
  await session.rollback()
  expect(await leaseEndsAt()).toBe(before)
  expect(await engine.value<boolean>('select dueq.ack($1, 1)', [id])).toBe(true)
})

it('promise 4: ack and the writes of the handler commit together', async () => {
  const queue = await engine.queue()
  const id = await engine.enqueue(queue)
  await engine.dequeue(queue)
  await engine.rows('create table dueq.mails (id bigint primary key)')
  await session.begin()
  await session.rows('insert into dueq.mails values ($1)', [id])
  expect(await session.value<boolean>('select dueq.ack($1, 1)', [id])).toBe(true)
  expect(await stateOf(id)).toBe('leased')
  await session.commit()
  expect(await stateOf(id)).toBeUndefined()
  expect(await engine.value('select count(*) from dueq.mails')).toBe('1')
})

it('promise 4: a statement that fails changes nothing, and the transaction goes on from its savepoint', async () => {
  const queue = await engine.queue()
  await session.begin()
  await session.rows(`select id from dueq.enqueue($1, '1')`, [queue])
  await session.rows('savepoint here')
  expect(await session.sqlstate(`select id from dueq.enqueue($1, '2', priority => 101)`, [queue])).toBe('DQ002')
  await session.rows('rollback to savepoint here')
  await session.commit()
  expect(await engine.dequeue(queue, 10)).toHaveLength(1)
})

it('promise 4: a claim that is rolled back never was', async () => {
  const queue = await engine.queue()
  const id = await engine.enqueue(queue)
  await session.begin()
  expect(await session.rows('select id, attempt from dueq.dequeue($1)', [queue])).toEqual([{ id, attempt: 1 }])
  await session.rollback()
  expect(await engine.dequeue(queue)).toEqual([{ id, attempt: 1 }])
})
