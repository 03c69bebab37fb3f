/** What was handled is acked by the poll that asks for more, in one transaction. */
import { afterAll, beforeAll, expect, it } from 'vitest'
import { type Engine, type EngineSession, startEngine } from './engine.js'

let engine: Engine
let other: EngineSession
beforeAll(async () => {
  engine = await startEngine()
  other = await engine.session()
})
afterAll(() => engine.close())

async function claimed(count: number): Promise<{ readonly queue: string; readonly ids: readonly string[] }> {
  const queue = await engine.queue()
  for (let i = 0; i < count; i++) await engine.enqueue(queue)
  return { queue, ids: (await engine.dequeue(queue, count)).map(({ id }) => id) }
}

/** The ids it claims, and what it says of the acks that did not count. */
async function poll(queue: string, ids: readonly string[], attempts: readonly number[]) {
  const rows = await engine.rows<{ id: string | null; refused: readonly string[] | null }>(
    'select id, refused_acks as refused from dueq.poll($1, 10, ack_ids => $2, ack_attempts => $3)',
    [queue, ids, attempts],
  )
  return { refused: rows.at(-1)!.refused, ids: rows.slice(0, -1).map(({ id }) => id) }
}
const left = async (queue: string) =>
  (await engine.rows<{ id: string }>('select id from dueq.message_states where queue = $1 order by id', [queue])).map(
    ({ id }) => id,
  )

it('promise 3i: a poll acks and claims', async () => {
  const { queue, ids } = await claimed(3)
  const next = await engine.enqueue(queue)
  expect(await poll(queue, ids, [1, 1, 1])).toEqual({ refused: null, ids: [next] })
  expect(await left(queue)).toEqual([next])
})

it('promise 3i: in any order of the ids, and twice the same', async () => {
  const { queue, ids } = await claimed(3)
  expect((await poll(queue, [ids[2]!, ids[0]!, ids[2]!], [1, 1, 1])).refused).toEqual([])
  expect(await left(queue)).toEqual([ids[1]])
})

it('promise 3i: an ack of a lost lease is refused, and delays no other', async () => {
  const { queue, ids } = await claimed(3)
  const { refused } = await poll(queue, ids, [1, 2, 1])
  expect(refused).toEqual([`${ids[1]} 2 lost`])
  expect(await left(queue)).toEqual([ids[1]])
})

it('promise 3i: one whose row another transaction holds is passed over, and delays no other', async () => {
  const { queue, ids } = await claimed(3)
  await other.begin()
  await other.rows('select dueq.ack($1, 1)', [ids[0]])
  expect((await poll(queue, ids, [1, 1, 1])).refused).toEqual([`${ids[0]} 1 busy`])
  await other.rollback()
  expect(await left(queue)).toEqual([ids[0]])
})

it('promise 3i: a poll that fails has acked nothing', async () => {
  const { queue, ids } = await claimed(1)
  const text = 'select id from dueq.poll($1, 0, ack_ids => $2, ack_attempts => $3)'
  expect(await engine.sqlstate(text, [queue, ids, [1]])).toBe('DQ002')
  expect(await left(queue)).toEqual(ids)
})

it.each([[[]], [[1, 1]], [null]])('promise 3i: an attempt for each id, not %j', async (attempts) => {
  const { queue, ids } = await claimed(1)
  const text = 'select id from dueq.poll($1, ack_ids => $2, ack_attempts => $3)'
  expect(await engine.sqlstate(text, [queue, ids, attempts])).toBe('DQ002')
  expect(await left(queue)).toEqual(ids)
})

it('promise 3i: no acks are no acks', async () => {
  const { queue, ids } = await claimed(1)
  expect(await poll(queue, [], [])).toEqual({ refused: null, ids: [] })
  expect(await left(queue)).toEqual(ids)
})
