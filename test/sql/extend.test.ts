import { afterAll, beforeAll, expect, it } from 'vitest'
import { type Engine, startEngine } from './engine.js'

let engine: Engine
beforeAll(async () => {
  engine = await startEngine()
})
afterAll(() => engine.close())

async function leased(): Promise<{ queue: string; id: string }> {
  const queue = await engine.queue(`lease => '1 minute'`)
  const id = await engine.enqueue(queue)
  await engine.dequeue(queue)
  return { queue, id }
}

/** How much of the lease is left, by what `extend` returned. */
const extended = (id: string, args = '') =>
  engine.value(`select (dueq.extend($1, 1${args}) - dueq.clock())::text`, [id])

const left = (id: string) =>
  engine.value('select (ready_at - dueq.clock())::text from dueq.message_states where id = $1', [id])

it('promise 3j: extend moves the end of the lease to the length of the queue from now', async () => {
  const { id } = await leased()
  await engine.travel('45 seconds')
  expect(await extended(id)).toBe('00:01:00')
  expect(await left(id)).toBe('00:01:00')
})

it('promise 3j: or to the length that is asked for', async () => {
  const { id } = await leased()
  expect(await extended(id, `, '3 hours'`)).toBe('03:00:00')
  expect(await left(id)).toBe('03:00:00')
})

it('promise 3j: extend never shortens a lease', async () => {
  const { id } = await leased()
  await extended(id, `, '3 hours'`)
  expect(await extended(id, `, '1 second'`)).toBe('03:00:00')
  await engine.rows(`select outcome from dueq.extend_many(array[$1::bigint], array[1], '1 second')`, [id])
  expect(await left(id)).toBe('03:00:00')
})

it('promise 3j: extending changes neither the attempt nor the place that the message returns to', async () => {
  const { queue, id } = await leased()
  await extended(id)
  const behind = await engine.enqueue(queue, `delay => '1 microsecond'`)
  await engine.travel('1 second')
  await engine.rows('select dueq.release($1, 1)', [id])
  expect(await engine.dequeue(queue, 2)).toEqual([
    { id, attempt: 2 },
    { id: behind, attempt: 1 },
  ])
})

it('promise 3j: extending a lapsed lease that nobody took brings it back', async () => {
  const { queue, id } = await leased()
  await engine.travel('5 minutes')
  expect(await extended(id)).toBe('00:01:00')
  expect(await engine.dequeue(queue)).toEqual([])
  expect(await engine.value<boolean>('select dueq.ack($1, 1)', [id])).toBe(true)
})

it('promise 3j: leases can be extended while the queue is paused', async () => {
  const { queue, id } = await leased()
  await engine.rows('select dueq.pause_queue($1)', [queue])
  expect(await extended(id)).toBe('00:01:00')
})
