import { afterAll, beforeAll, expect, it } from 'vitest'
import { type Engine, startEngine } from './engine.js'

let engine: Engine
beforeAll(async () => {
  engine = await startEngine()
})
afterAll(() => engine.close())

const ids = (claims: readonly { readonly id: string }[]) => claims.map(({ id }) => id)

/** A queue with one message whose lease has lapsed once. */
async function withPoison(settings = ''): Promise<{ queue: string; poison: string }> {
  const queue = await engine.queue(`lease => '1 minute'${settings}`)
  const poison = await engine.enqueue(queue)
  await engine.dequeue(queue)
  await engine.travel('1 minute')
  return { queue, poison }
}

it('promise 3h: a message that has lapsed is dequeued alone, so that a crash costs no neighbour', async () => {
  const { queue, poison } = await withPoison()
  const neighbours = [await engine.enqueue(queue), await engine.enqueue(queue)]
  expect(ids(await engine.dequeue(queue, 10))).toEqual([poison])
  expect(ids(await engine.dequeue(queue, 10))).toEqual(neighbours)
})

it('promise 3h: messages in front of it are dequeued first, without it', async () => {
  const { queue, poison } = await withPoison()
  const before = [
    await engine.enqueue(queue, `at => dueq.clock() - interval '2 minutes'`),
    await engine.enqueue(queue, `at => dueq.clock() - interval '1 minute'`),
  ]
  const after = await engine.enqueue(queue)
  expect(ids(await engine.dequeue(queue, 10))).toEqual(before)
  expect(ids(await engine.dequeue(queue, 10))).toEqual([poison])
  expect(ids(await engine.dequeue(queue, 10))).toEqual([after])
})

it('promise 3h: nor is it dequeued with messages of a level in front of its own', async () => {
  const { queue, poison } = await withPoison()
  const urgent = await engine.enqueue(queue, 'priority => -1')
  expect(ids(await engine.dequeue(queue, 10))).toEqual([urgent])
  expect(ids(await engine.dequeue(queue, 10))).toEqual([poison])
})

it('promise 3h: it stays alone when it was nacked or released after the lapse', async () => {
  const { queue, poison } = await withPoison()
  await engine.dequeue(queue)
  await engine.rows(`select dueq.nack($1, 2, delay => '0')`, [poison])
  await engine.enqueue(queue)
  expect(ids(await engine.dequeue(queue, 10))).toEqual([poison])
  await engine.rows('select dueq.release($1, 3)', [poison])
  expect(ids(await engine.dequeue(queue, 10))).toEqual([poison])
})

it('promise 3h: two that have lapsed are dequeued one after the other', async () => {
  const queue = await engine.queue(`lease => '1 minute'`)
  const both = [await engine.enqueue(queue), await engine.enqueue(queue)]
  expect(ids(await engine.dequeue(queue, 10))).toEqual(both)
  await engine.travel('1 minute')
  expect(ids(await engine.dequeue(queue, 10))).toEqual([both[0]])
  expect(ids(await engine.dequeue(queue, 10))).toEqual([both[1]])
})

it('promise 3h: crashing consumers burn the budget of the poison message only', async () => {
  const { queue, poison } = await withPoison(', max_attempts => 4')
  const neighbour = await engine.enqueue(queue, `at => dueq.clock() - interval '1 minute'`)
  for (let attempt = 1; attempt <= 3; attempt++) {
    expect(ids(await engine.dequeue(queue, 10))).toEqual([neighbour])
    expect(ids(await engine.dequeue(queue, 10))).toEqual([poison])
    await engine.rows('select dueq.release($1, $2)', [neighbour, attempt])
    await engine.travel('1 minute')
  }
  await engine.dequeue(queue, 10)
  await engine.dequeue(queue, 10)
  expect(
    await engine.rows('select id, reason, failures, lapses from dueq.dead_messages where queue = $1', [queue]),
  ).toEqual([{ id: poison, reason: 'lapsed', failures: 4, lapses: 4 }])
  expect(await engine.rows('select id, failures from dueq.message_states where queue = $1', [queue])).toEqual([
    { id: neighbour, failures: 0 },
  ])
})

it('promise 3h: what has used up its budget is cleared away without stopping the messages behind it for good', async () => {
  const queue = await engine.queue(`lease => '1 minute', max_attempts => 1`)
  for (let i = 0; i < 5; i++) await engine.enqueue(queue)
  await engine.dequeue(queue, 5)
  await engine.travel('1 minute')
  const healthy = await engine.enqueue(queue)
  const seen: string[] = []
  for (let poll = 0; poll < 5; poll++) seen.push(...ids(await engine.dequeue(queue, 3)))
  expect(seen).toEqual([healthy])
  expect(await engine.value('select count(*) from dueq.dead_messages where queue = $1', [queue])).toBe('5')
})

it('promise 3h: those that lapse together with the poison message, crash after crash, survive it', async () => {
  const queue = await engine.queue(`lease => '1 minute', max_attempts => 6`)
  const all = []
  for (let n = 0; n < 10; n++) all.push(await engine.enqueue(queue))
  const poison = all[4]!
  for (let round = 0; round < 40; round++) {
    // A consumer with ten handlers, which dies of the poison message and acks everything where it is not among them.
    const claims = await engine.rows<{ id: string; attempt: number }>(
      `select id, attempt from dueq.poll($1, max => 10, handlers => 10) where id is not null`,
      [queue],
    )
    if (claims.some(({ id }) => id === poison)) await engine.travel('1 minute')
    else for (const { id, attempt } of claims) await engine.rows('select dueq.ack($1, $2)', [id, attempt])
  }
  expect(await engine.rows('select id, reason from dueq.dead_messages where queue = $1', [queue])).toEqual([
    { id: poison, reason: 'lapsed' },
  ])
  expect(await engine.rows('select id from dueq.message_states where queue = $1', [queue])).toEqual([])
})

it('promise 3h: from half of its budget on it is handled alone: not even with a level in front of its own that leaves a handler free', async () => {
  const { queue, poison } = await withPoison(', max_attempts => 2')
  const urgent = await engine.enqueue(queue, 'priority => -1')
  const poll = () =>
    engine.rows<{ id: string }>(`select id::text from dueq.poll($1, 10, handlers => 5) where id is not null`, [queue])
  expect(ids(await poll())).toEqual([urgent])
  expect(ids(await poll())).toEqual([poison])
})
