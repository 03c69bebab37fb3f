import { afterAll, beforeAll, expect, it } from 'vitest'
import { codeOf, startClient, type TestClient } from './client.js'

let test: TestClient
beforeAll(async () => {
  test = await startClient()
})
afterAll(() => test.close())

it('dequeue gives one message unless max asks for more, and none where none is ready', async () => {
  const queue = await test.queue<number>()
  expect(await queue.dequeue()).toEqual([])
  await queue.enqueueMany([1, 2, 3, 4].map((payload) => ({ payload })))
  expect((await queue.dequeue()).map(({ payload }) => payload)).toEqual([1])
  expect((await queue.dequeue({ max: 2 })).map(({ payload }) => payload)).toEqual([2, 3])
  expect((await queue.dequeue({ max: 10_000 })).map(({ payload }) => payload)).toEqual([4])
})

it('promise 5: the lease is the one asked for, or the one of the queue, and lapses by itself', async () => {
  const queue = await test.queue({ lease: '2h' })
  await queue.enqueueMany([{ payload: 'of the queue' }, { payload: 'asked for' }])
  await test.freeze()
  const [ofQueue] = await queue.dequeue()
  const [askedFor] = await queue.dequeue({ lease: '1h' })
  const leaseMs = (message: typeof ofQueue) => message!.leaseEndsAt.getTime() - message!.enqueuedAt.getTime()
  expect(Math.round(leaseMs(ofQueue) / 60_000)).toBe(120)
  expect(Math.round(leaseMs(askedFor) / 60_000)).toBe(60)
  await test.travel('59 minutes 59 seconds')
  expect(await queue.dequeue()).toEqual([])
  await test.travel('1 second')
  const [again] = await queue.dequeue()
  expect(again).toMatchObject({ payload: 'asked for', attempt: 2, failures: 1, lapses: 1 })
  await test.unfreeze()
})

it('promise 3: a raw lease is watched but not kept: it ends, and a late ack is refused', async () => {
  const queue = await test.queue()
  await queue.enqueue(1)
  const [message] = await queue.dequeue({ lease: '1s' })
  const { signal } = message!
  expect(signal.aborted).toBe(false)
  await new Promise((resolve) => signal.addEventListener('abort', resolve))
  expect(signal.reason).toMatchObject({ code: 'lease.lost' })
  expect(await codeOf(message!.ack())).toBe('lease.lost')
  const [again] = await queue.dequeue({ wait: '5s' })
  expect(again).toMatchObject({ id: message!.id, attempt: 2, lapses: 1 })
  await again!.ack()
  expect(test.events).toContainEqual(expect.objectContaining({ type: 'lease.lost', id: message!.id, attempt: 1 }))
})

it('extend keeps a raw lease beyond its first end', async () => {
  const queue = await test.queue()
  await queue.enqueue(1)
  const [message] = await queue.dequeue({ lease: '1s' })
  const endsAt = await message!.extend('1m')
  expect(endsAt.getTime() - message!.leaseEndsAt.getTime()).toBeGreaterThan(55_000)
  await new Promise((resolve) => setTimeout(resolve, 1_100))
  expect(message!.signal.aborted).toBe(false)
  await message!.ack()
})

it('a paused queue delivers nothing until it is resumed', async () => {
  const queue = await test.queue()
  await queue.enqueue(1)
  expect([await queue.pause(), await queue.pause()]).toEqual([true, false])
  expect(await queue.dequeue()).toEqual([])
  expect([await queue.resume(), await queue.resume()]).toEqual([true, false])
  expect(await queue.dequeue()).toHaveLength(1)
})

it('dequeue from a queue that nobody created is an error, also while it would wait', async () => {
  const queue = test.dueq.queue('nobody-created-me')
  expect(await codeOf(queue.dequeue())).toBe('queue.unknown')
  expect(await codeOf(queue.dequeue({ wait: '10s' }))).toBe('queue.unknown')
})
