import { afterAll, beforeAll, expect, it } from 'vitest'
import { type Engine, type EngineSession, startEngine } from './engine.js'

let engine: Engine
let session: EngineSession
beforeAll(async () => {
  engine = await startEngine()
  session = await engine.session()
})
afterAll(() => engine.close())

const isolations = ['repeatable read', 'serializable'] as const

it.each(isolations)('promise 8b: every verb works in a %s transaction that nobody crosses', async (isolation) => {
  const queue = await engine.queue()
  await session.begin(isolation)
  await session.rows(`select id from dueq.enqueue($1, '1', dedup_key => 'k', priority => 2)`, [queue])
  await session.rows(`select id from dueq.enqueue_many($1, array['2', '3']::jsonb[])`, [queue])
  const claims = await session.rows('select id, attempt from dueq.dequeue($1, 10)', [queue])
  expect(claims).toHaveLength(3)
  const [a, b, c] = claims.map(({ id }) => id)
  expect(await session.value('select dueq.nack($1, 1)', [a])).toBe('retry')
  expect(await session.value('select dueq.release($1, 1)', [b])).toBe(true)
  expect(await session.rows('select id from dueq.ack_many(array[$1::bigint], array[1])', [c])).toEqual([])
  await session.commit()
  expect(await engine.value('select count(*) from dueq.message_states where queue = $1', [queue])).toBe('2')
})

it.each(isolations)(
  'promise 8b: dequeue in a %s transaction raises 40001 on a message taken since',
  async (isolation) => {
    const queue = await engine.queue()
    await engine.enqueue(queue)
    await session.begin(isolation)
    await session.rows('select 1 from dueq.queues')
    await engine.dequeue(queue)
    expect(await session.sqlstate('select id from dueq.dequeue($1)', [queue])).toBe('40001')
    await session.rollback()
    expect(await session.rows('select id from dueq.dequeue($1)', [queue])).toEqual([])
  },
)

it.each([
  ['ack', 'select dueq.ack($1, 1)'],
  ['nack', 'select dueq.nack($1, 1)'],
  ['release', 'select dueq.release($1, 1)'],
  ['extend', 'select dueq.extend($1, 1)'],
  ['dead_letter', `select dueq.dead_letter($1, 1, 'r')`],
  ['ack_many', 'select id from dueq.ack_many(array[$1::bigint], array[1])'],
  ['nack_many', 'select id from dueq.nack_many(array[$1::bigint], array[1])'],
  ['release_many', 'select id from dueq.release_many(array[$1::bigint], array[1])'],
])('promise 8b: %s in a repeatable read transaction cannot pass the fence with an old snapshot', async (_, text) => {
  const queue = await engine.queue(`lease => '1 minute'`)
  const id = await engine.enqueue(queue)
  await engine.dequeue(queue)
  await session.begin('repeatable read')
  await session.rows('select 1 from dueq.messages')
  await engine.travel('1 minute')
  expect(await engine.dequeue(queue)).toEqual([{ id, attempt: 2 }])
  expect(await session.sqlstate(text, [id])).toBe('40001')
  await session.rollback()
  expect(await engine.value<boolean>('select dueq.ack($1, 2)', [id])).toBe(true)
})

it('promise 8b: a dedup key that came up since the snapshot raises 40001 rather than a second message', async () => {
  const queue = await engine.queue()
  await session.begin('repeatable read')
  await session.rows('select 1 from dueq.queues')
  await engine.enqueue(queue, `dedup_key => 'k'`)
  expect(await session.sqlstate(`select id from dueq.enqueue($1, '1', dedup_key => 'k')`, [queue])).toBe('40001')
  await session.rollback()
})
