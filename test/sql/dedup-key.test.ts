import { afterAll, beforeAll, expect, it } from 'vitest'
import { blocked } from '../support/sessions.js'
import { type Engine, type EngineSession, startEngine } from './engine.js'

let engine: Engine
let other: EngineSession
beforeAll(async () => {
  engine = await startEngine()
  other = await engine.session()
})
afterAll(() => engine.close())

type Enqueued = { readonly id: string; readonly created: boolean }

const text = `select id, created from dueq.enqueue($1, to_jsonb($2::text), dedup_key => 'k')`

const enqueue = async (queue: string, payload = 'first', session: EngineSession = engine) =>
  (await session.rows<Enqueued>(text, [queue, payload]))[0]!

it('promise 2b: while a message with the key lives, enqueue returns its id and changes nothing', async () => {
  const queue = await engine.queue()
  const first = await enqueue(queue)
  expect(first.created).toBe(true)
  expect(await enqueue(queue, 'second')).toEqual({ id: first.id, created: false })
  await engine.dequeue(queue)
  expect(await enqueue(queue, 'third')).toEqual({ id: first.id, created: false })
  expect(await engine.rows('select payload from dueq.message_states where queue = $1', [queue])).toEqual([
    { payload: 'first' },
  ])
})

it.each([
  ['acked', 'select dueq.ack(id, attempt) from dueq.dequeue($1)'],
  ['dead-lettered', `select dueq.dead_letter(id, attempt, 'test') from dueq.dequeue($1)`],
  ['cancelled', 'select dueq.cancel(id) from dueq.message_states where queue = $1'],
  ['purged', 'select dueq.purge($1)'],
])('promise 2b: once that message is %s, the key is free', async (_, end) => {
  const queue = await engine.queue()
  const first = await enqueue(queue)
  await engine.rows(end, [queue])
  const second = await enqueue(queue)
  expect(second.created).toBe(true)
  expect(second.id).not.toBe(first.id)
})

it('promise 2b: a key belongs to its queue', async () => {
  expect(await enqueue(await engine.queue())).toMatchObject({ created: true })
  expect(await enqueue(await engine.queue())).toMatchObject({ created: true })
})

it('promise 2b: of two transactions with one key the second waits, and then sees the message of the first', async () => {
  const queue = await engine.queue()
  await other.begin()
  const first = await enqueue(queue, 'first', other)
  const waiting = enqueue(queue, 'second')
  expect(await blocked(engine.pid)).toEqual([other.pid])
  await other.commit()
  expect(await waiting).toEqual({ id: first.id, created: false })
})

it('promise 2b: or inserts its own, when the first rolls back', async () => {
  const queue = await engine.queue()
  await other.begin()
  await enqueue(queue, 'first', other)
  const waiting = enqueue(queue, 'second')
  expect(await blocked(engine.pid)).toEqual([other.pid])
  await other.rollback()
  expect(await waiting).toMatchObject({ created: true })
  expect(await engine.rows('select payload from dueq.message_states where queue = $1', [queue])).toEqual([
    { payload: 'second' },
  ])
})

it('promise 2b: or inserts its own, when the first enqueued and acked in the same transaction', async () => {
  const queue = await engine.queue()
  await other.begin()
  await enqueue(queue, 'first', other)
  const waiting = enqueue(queue, 'second')
  expect(await blocked(engine.pid)).toEqual([other.pid])
  await other.rows('select dueq.ack(id, attempt) from dueq.dequeue($1)', [queue])
  await other.commit()
  expect(await waiting).toMatchObject({ created: true })
})

it('promise 2b: an ack open in another transaction still counts as a live message', async () => {
  const queue = await engine.queue()
  const first = await enqueue(queue)
  await engine.dequeue(queue)
  await other.begin()
  await other.rows('select dueq.ack($1, 1)', [first.id])
  const waiting = enqueue(queue)
  expect(await blocked(engine.pid)).toEqual([other.pid])
  await other.commit()
  expect(await waiting).toMatchObject({ created: true })
})

const many = `select id, created from dueq.enqueue_many($1, array['1', '2', '3']::jsonb[], dedup_keys => $2) order by ordinality`

it('promise 2b: two enqueue_many with the same keys in opposite order do not deadlock', async () => {
  const queue = await engine.queue()
  await using holder = await engine.session()
  await holder.begin()
  await holder.rows(`select id from dueq.enqueue($1, '0', dedup_key => 'b')`, [queue])
  const ascending = engine.rows<Enqueued>(many, [queue, ['a', 'b', 'c']])
  expect(await blocked(engine.pid)).toEqual([holder.pid])
  const descending = other.rows<Enqueued>(many, [queue, ['c', 'b', 'a']])
  expect(await blocked(other.pid)).toEqual([engine.pid])
  await holder.rollback()
  const [up, down] = await Promise.all([ascending, descending])
  expect(up.map(({ created }) => created)).toEqual([true, true, true])
  expect(down).toEqual(up.toReversed().map(({ id }) => ({ id, created: false })))
})

it('promise 2b: redrive waits for a transaction that enqueues the key of a dead letter, and then leaves it', async () => {
  const queue = await engine.queue()
  const dead = await enqueue(queue)
  await engine.rows(`select dueq.dead_letter(id, attempt, 'test') from dueq.dequeue($1)`, [queue])
  await other.begin()
  await enqueue(queue, 'second', other)
  const waiting = engine.rows('select id from dueq.redrive($1)', [queue])
  expect(await blocked(engine.pid)).toEqual([other.pid])
  await other.commit()
  expect(await waiting).toEqual([])
  expect(await engine.rows('select id from dueq.dead_messages where queue = $1', [queue])).toEqual([{ id: dead.id }])
})

it('promise 7: messages enqueued together come in the order of their payloads, whatever their dedup keys', async () => {
  const queue = await engine.queue()
  await engine.rows(
    `select id from dueq.enqueue_many($1, array['1', '2', '3', '4']::jsonb[], dedup_keys => array['z', null, 'a', 'm'])`,
    [queue],
  )
  const payloads = await engine.rows<{ payload: number }>(`select payload from dueq.dequeue($1, max => 10)`, [queue])
  expect(payloads.map(({ payload }) => payload)).toEqual([1, 2, 3, 4])
})

it('promise 2b: an enqueue does not wait for ever for a transaction that holds its key', async () => {
  const queue = await engine.queue()
  const other = await engine.session()
  await other.begin()
  await other.rows(`select id from dueq.enqueue($1, '1', dedup_key => 'held')`, [queue])
  expect(await engine.sqlstate(`select id from dueq.enqueue('${queue}', '1', dedup_key => 'held')`)).toBe('55P03')
  await other.rollback()
  expect(await engine.value(`select created from dueq.enqueue('${queue}', '1', dedup_key => 'held')`)).toBe(true)
})

it('promise 2b: above READ COMMITTED a key gives the message that lives, not one that was settled after the snapshot', async () => {
  const queue = await engine.queue()
  await enqueue(queue)
  const [claimed] = await engine.dequeue(queue)
  await other.begin('repeatable read')
  await other.rows('select count(*) from dueq.messages')
  await engine.rows('select dueq.ack($1, $2)', [claimed!.id, claimed!.attempt])
  const second = await enqueue(queue, 'second', other)
  expect(second.created).toBe(true)
  expect(await enqueue(queue, 'third', other)).toEqual({ id: second.id, created: false })
  await other.commit()
})
