// nack_many and release_many: what nack and release do one by one, in one statement that waits for nobody.
import { afterAll, beforeAll, expect, it } from 'vitest'
import { type Engine, startEngine } from './engine.js'

let engine: Engine
beforeAll(async () => {
  engine = await startEngine()
})
afterAll(() => engine.close())

const nackMany = 'select id, outcome, attempt from dueq.nack_many($1, $2, $3, $4)'
const releaseMany = 'select id, outcome, attempt from dueq.release_many($1, $2, $3)'

async function leased(count: number, settings = ''): Promise<{ queue: string; ids: readonly string[] }> {
  const queue = await engine.queue(`lease => '1 minute'${settings && `, ${settings}`}`)
  await engine.rows(`select id from dueq.enqueue_many($1, array_fill('1'::jsonb, array[$2::integer]))`, [queue, count])
  return { queue, ids: (await engine.dequeue(queue, count)).map(({ id }) => id) }
}

const ones = (ids: readonly string[]) => ids.map(() => 1)
const rowsOf = (ids: readonly string[]) =>
  engine.rows(
    `select id, state, failures, last_error, extract(epoch from ready_at - dueq.clock())::float8 as seconds
       from dueq.message_states where id = any($1) order by id`,
    [ids],
  )

it('promise 3i: nack_many gives each message its own error and delay, and says so of each, in their order', async () => {
  const { ids } = await leased(3)
  const backwards = [...ids].reverse()
  expect(await engine.rows(nackMany, [backwards, ones(ids), ['c', null, 'a'], ['3 s', '2 s', '0 s']])).toEqual(
    backwards.map((id) => ({ id, outcome: 'retry', attempt: 1 })),
  )
  expect(await rowsOf(ids)).toEqual([
    { id: ids[0], state: 'ready', failures: 1, last_error: 'a', seconds: 0 },
    { id: ids[1], state: 'delayed', failures: 1, last_error: null, seconds: 2 },
    { id: ids[2], state: 'delayed', failures: 1, last_error: 'c', seconds: 3 },
  ])
})

it('promise 1b: without delays each message of nack_many draws a back-off of its own, in the upper half', async () => {
  const { ids } = await leased(100, `backoff_base => '8 seconds'`)
  await engine.rows(nackMany, [ids, ones(ids), null, null])
  const seconds = (await rowsOf(ids)).map((row) => row['seconds'] as number)
  expect(Math.min(...seconds)).toBeGreaterThanOrEqual(4)
  expect(Math.max(...seconds)).toBeLessThanOrEqual(8)
  expect(new Set(seconds).size).toBeGreaterThan(90)
})

it('promise 3g: nack_many sends those with a used-up budget to the dead letters, each with its error', async () => {
  const { ids } = await leased(3)
  await engine.rows(`update dueq.messages set failures = 19, last_error = 'before' where id = any($1)`, [
    [ids[0], ids[2]],
  ])
  const outcomes = await engine.rows<{ outcome: string }>(nackMany, [ids, ones(ids), ['x', 'y', null], null])
  expect(outcomes.map(({ outcome }) => outcome)).toEqual(['dead', 'retry', 'dead'])
  expect(
    await engine.rows(
      'select id, reason, failures, last_error from dueq.dead_messages where id = any($1) order by id',
      [ids],
    ),
  ).toEqual([
    { id: ids[0], reason: 'exhausted', failures: 20, last_error: 'x' },
    { id: ids[2], reason: 'exhausted', failures: 20, last_error: 'before' },
  ])
})

it('promise 3i: nack_many takes messages of several queues, each by the settings of its own', async () => {
  const short = await leased(2, `backoff_base => '0'`)
  const long = await leased(2, `backoff_base => '1 hour', backoff_max => '1 hour', max_attempts => 2`)
  const ids = [short.ids[0]!, long.ids[0]!, short.ids[1]!, long.ids[1]!]
  await engine.rows('update dueq.messages set failures = 1 where id = $1', [ids[3]])
  const outcomes = await engine.rows<{ outcome: string }>(nackMany, [ids, ones(ids), null, null])
  expect(outcomes.map(({ outcome }) => outcome)).toEqual(['retry', 'retry', 'retry', 'dead'])
  const [first, second, third] = await rowsOf([...ids].sort((a, b) => Number(a) - Number(b)))
  expect([first, second]).toMatchObject([{ seconds: 0 }, { seconds: 0 }])
  expect(third!['seconds']).toBeGreaterThanOrEqual(1800)
})

it('promise 7: release_many gives all back to their old places, or after their delays, at no cost', async () => {
  const { queue, ids } = await leased(4)
  expect(await engine.rows(releaseMany, [[...ids].reverse(), ones(ids), [null, '5 s', null, null]])).toEqual([])
  expect((await rowsOf(ids)).map(({ failures }) => failures)).toEqual([0, 0, 0, 0])
  expect(await engine.dequeue(queue, 10)).toEqual([ids[0], ids[1], ids[3]].map((id) => ({ id, attempt: 2 })))
})

it.each([
  ['nack_many', nackMany, [null, null], [{ outcome: 'retry' }]],
  ['release_many', releaseMany, [null], []],
])('promise 3i: %s tells lost ones, also a stale attempt beside the current one', async (_, text, rest, done) => {
  const { queue, ids } = await leased(1)
  await engine.travel('1 minute')
  expect(await engine.dequeue(queue)).toEqual([{ id: ids[0], attempt: 2 }])
  const rows = await engine.rows(text, [[ids[0], ids[0], '987654321'], [1, 2, 1], ...rest])
  expect(rows).toEqual([
    { id: ids[0], outcome: 'lost', attempt: 1 },
    ...done.map((one) => ({ id: ids[0], attempt: 2, ...one })),
    { id: '987654321', outcome: 'lost', attempt: 1 },
  ])
})

it.each([
  ['nack_many', nackMany, [null, null]],
  ['release_many', releaseMany, [null]],
])('promise 3i: an ack open in another transaction does not stall %s of the others', async (_, text, rest) => {
  const { ids } = await leased(3)
  const [first, busy, last] = ids
  await using other = await engine.session()
  await other.begin()
  await other.rows('select dueq.ack($1, 1)', [busy])
  const rows = await engine.rows(text, [ids, ones(ids), ...rest])
  expect(rows.filter(({ outcome }) => outcome !== 'retry')).toEqual([{ id: busy, outcome: 'busy', attempt: 1 }])
  expect((await rowsOf([first!, last!])).map(({ state }) => state)).not.toContain('leased')
  await other.rollback()
  expect((await engine.rows(text, [[busy], [1], ...rest])).map(({ outcome }) => outcome)).not.toContain('busy')
  expect((await rowsOf([busy!]))[0]!['state']).not.toBe('leased')
})

it.each([
  ['nack_many', 'select id from dueq.nack_many($1, $2, delays => $3)'],
  ['release_many', 'select id from dueq.release_many($1, $2, $3)'],
])('promise 3i: %s refuses a bad argument whole, and does nothing for empty arrays', async (_, text) => {
  const { ids } = await leased(2)
  for (const [attempts, delays] of [
    [[1], null],
    [null, null],
    [[1, 1], ['1 s']],
    [
      [1, 1],
      ['1 s', '-1 s'],
    ],
    [
      [1, 1],
      [null, '101 years'],
    ],
  ])
    expect(await engine.sqlstate(text, [ids, attempts, delays])).toBe('DQ002')
  expect(await engine.rows(text, [[], [], []])).toEqual([])
  expect((await rowsOf(ids)).map(({ state }) => state)).toEqual(['leased', 'leased'])
})
