import { afterAll, beforeAll, expect, it } from 'vitest'
import { type Engine, startEngine } from './engine.js'

let engine: Engine
beforeAll(async () => {
  engine = await startEngine()
})
afterAll(() => engine.close())

const ackMany = 'select id, outcome from dueq.ack_many($1, $2)'
const extendMany = `select id, outcome from dueq.extend_many($1, $2, '10 minutes')`

/** Leases `count` messages for a minute, each with attempt 1. */
async function leased(count: number): Promise<{ queue: string; ids: readonly string[] }> {
  const queue = await engine.queue(`lease => '1 minute'`)
  await engine.rows(`select id from dueq.enqueue_many($1, array_fill('1'::jsonb, array[$2::integer]))`, [queue, count])
  return { queue, ids: (await engine.dequeue(queue, count)).map(({ id }) => id) }
}

const leftSeconds = async (ids: readonly string[]) =>
  (
    await engine.rows<{ seconds: number }>(
      `select extract(epoch from ready_at - dueq.clock())::float8 as seconds
         from dueq.message_states where id = any($1) order by id`,
      [ids],
    )
  ).map(({ seconds }) => seconds)

it('promise 3i: ack_many acks all in one statement and then has nothing to report', async () => {
  const { ids } = await leased(200)
  expect(await engine.rows(ackMany, [ids, ids.map(() => 1)])).toEqual([])
  expect(await leftSeconds(ids)).toEqual([])
})

it('promise 3i: extend_many moves the end of every lease', async () => {
  const { ids } = await leased(200)
  expect(await engine.rows(extendMany, [ids, ids.map(() => 1)])).toEqual([])
  expect(new Set(await leftSeconds(ids))).toEqual(new Set([600]))
})

it.each([
  ['ack_many', ackMany, [60]],
  ['extend_many', extendMany, [60, 600, 600]],
])('promise 3i: %s takes what it holds and reports the lost ones, in any order of ids', async (_, text, left) => {
  const { ids } = await leased(4)
  const [acked, stale, held, last] = ids
  await engine.rows('select dueq.ack($1, 1)', [acked])
  const rows = await engine.rows(text, [
    [last, stale, acked, held, '987654321'],
    [1, 9, 1, 1, 1],
  ])
  expect(rows.map(({ id, outcome }) => `${id} ${outcome}`).sort()).toEqual(
    [`${stale} lost`, `${acked} lost`, '987654321 lost'].sort(),
  )
  expect(await leftSeconds(ids)).toEqual(left)
})

it.each([
  ['ack_many', ackMany],
  ['extend_many', extendMany],
])(
  'promise 3i: %s reports a stale attempt as lost, also beside the current one of the same message',
  async (...verb) => {
    const { queue, ids } = await leased(1)
    await engine.travel('1 minute')
    expect(await engine.dequeue(queue)).toEqual([{ id: ids[0], attempt: 2 }])
    expect(
      await engine.rows(verb[1], [
        [ids[0], ids[0]],
        [1, 2],
      ]),
    ).toEqual([{ id: ids[0], outcome: 'lost' }])
  },
)

it.each([
  ['ack_many', ackMany],
  ['extend_many', extendMany],
])('promise 3i: %s of the same attempt twice in a statement counts once', async (_, text) => {
  const { ids } = await leased(2)
  expect(
    await engine.rows(text, [
      [ids[1], ids[0], ids[1]],
      [1, 1, 1],
    ]),
  ).toEqual([])
})

it.each([
  ['ack_many', ackMany],
  ['extend_many', extendMany],
])('promise 3i: %s refuses arrays of unequal length, and does nothing for empty ones', async (_, text) => {
  const { ids } = await leased(2)
  expect(await engine.sqlstate(text, [ids, [1]])).toBe('DQ002')
  expect(await engine.sqlstate(text, [ids, null])).toBe('DQ002')
  expect(await engine.rows(text, [[], []])).toEqual([])
  expect(await leftSeconds(ids)).toEqual([60, 60])
})

it.each([
  ['ack_many', ackMany, []],
  ['extend_many', extendMany, [600, 600]],
])('promise 3i: an ack open in another transaction does not stall %s of the others', async (_, text, left) => {
  const { ids } = await leased(3)
  const [first, busy, last] = ids
  await using other = await engine.session()
  await other.begin()
  expect(await other.value<boolean>('select dueq.ack($1, 1)', [busy])).toBe(true)
  expect(await engine.rows(text, [ids, [1, 1, 1]])).toEqual([{ id: busy, outcome: 'busy' }])
  await other.commit()
  expect(await leftSeconds([first!, last!])).toEqual(left)
  expect(await engine.rows(text, [[busy], [1]])).toEqual([{ id: busy, outcome: 'lost' }])
})

it('promise 3i: what was busy is still held when the other transaction rolls back', async () => {
  const { ids } = await leased(1)
  await using other = await engine.session()
  await other.begin()
  await other.rows('select dueq.nack($1, 1)', [ids[0]])
  expect(await engine.rows(ackMany, [ids, [1]])).toEqual([{ id: ids[0], outcome: 'busy' }])
  await other.rollback()
  expect(await engine.rows(ackMany, [ids, [1]])).toEqual([])
})

it('promise 3i: two attempts of one message in one call are told apart', async () => {
  const queue = await engine.queue(`lease => '1 minute'`)
  const id = await engine.enqueue(queue)
  await engine.dequeue(queue)
  await engine.travel('1 minute')
  await engine.dequeue(queue)
  const both = `array[${id}, ${id}]::bigint[], array[1, 2]`
  const lost = [{ id, outcome: 'lost', attempt: 1 }]
  expect(await engine.rows(`select id, outcome, attempt from dueq.extend_many(${both}, '1 minute')`)).toEqual(lost)
  expect(await engine.rows(`select id, outcome, attempt from dueq.ack_many(${both})`)).toEqual(lost)
})
