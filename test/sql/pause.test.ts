import { afterAll, beforeAll, expect, it } from 'vitest'
import { type Engine, startEngine } from './engine.js'

let engine: Engine
beforeAll(async () => {
  engine = await startEngine()
})
afterAll(() => engine.close())

it('promise 2c: a paused queue hands out nothing, and everything when it is resumed', async () => {
  const queue = await engine.queue()
  const id = await engine.enqueue(queue)
  expect(await engine.value<boolean>('select dueq.pause_queue($1)', [queue])).toBe(true)
  expect(await engine.value<boolean>('select dueq.pause_queue($1)', [queue])).toBe(false)
  expect(await engine.dequeue(queue)).toEqual([])
  expect(await engine.value('select dueq.next_ready_at($1)', [queue])).toBeNull()
  expect(await engine.value<boolean>('select dueq.resume_queue($1)', [queue])).toBe(true)
  expect(await engine.value<boolean>('select dueq.resume_queue($1)', [queue])).toBe(false)
  expect(await engine.dequeue(queue)).toEqual([{ id, attempt: 1 }])
})

it('promise 2c: while it is paused, messages are enqueued and leased ones are settled', async () => {
  const queue = await engine.queue()
  for (let i = 0; i < 3; i++) await engine.enqueue(queue)
  const [a, b, c] = await engine.dequeue(queue, 3)
  await engine.rows('select dueq.pause_queue($1)', [queue])
  const late = await engine.enqueue(queue)
  expect(await engine.value<boolean>('select dueq.ack($1, 1)', [a!.id])).toBe(true)
  expect(await engine.value('select dueq.nack($1, 1)', [b!.id])).toBe('retry')
  expect(await engine.value<boolean>('select dueq.release($1, 1)', [c!.id])).toBe(true)
  await engine.travel('1 hour')
  expect(await engine.dequeue(queue, 10)).toEqual([])
  await engine.rows('select dueq.resume_queue($1)', [queue])
  expect((await engine.dequeue(queue, 10)).map(({ id }) => id).sort()).toEqual([b!.id, c!.id, late].sort())
})

it('promise 2c: leases lapse while it is paused, and cost what they cost, after it', async () => {
  const queue = await engine.queue(`lease => '1 minute', max_attempts => 1`)
  await engine.enqueue(queue)
  await engine.dequeue(queue)
  await engine.rows('select dueq.pause_queue($1)', [queue])
  await engine.travel('1 hour')
  expect(await engine.dequeue(queue)).toEqual([])
  expect(await engine.value('select state from dueq.message_states where queue = $1', [queue])).toBe('lapsed')
  await engine.rows('select dueq.resume_queue($1)', [queue])
  expect(await engine.dequeue(queue)).toEqual([])
  expect(await engine.value('select reason from dueq.dead_messages where queue = $1', [queue])).toBe('lapsed')
})

it('promise 2c: a pause concerns one queue', async () => {
  const [paused, other] = [await engine.queue(), await engine.queue()]
  await engine.rows('select dueq.pause_queue($1)', [paused])
  await engine.enqueue(other)
  expect(await engine.dequeue(other)).toHaveLength(1)
})

it('promise 2c: a consumer learns from poll that there is nothing to wait for', async () => {
  const queue = await engine.queue()
  await engine.enqueue(queue)
  await engine.rows('select dueq.pause_queue($1)', [queue])
  expect(
    await engine.rows('select id, next_ready_at, poll_interval::text as sleep from dueq.poll($1, 10)', [queue]),
  ).toEqual([{ id: null, next_ready_at: null, sleep: '00:00:05' }])
})
