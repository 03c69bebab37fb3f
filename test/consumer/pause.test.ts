import { setTimeout as delay } from 'node:timers/promises'
import { afterAll, beforeAll, expect, it } from 'vitest'
import { startClient, type TestClient } from '../client/client.js'

const empty = { delayed: 0, ready: 0, leased: 0, lapsed: 0 }

let client: TestClient
beforeAll(async () => {
  client = await startClient()
})
afterAll(() => client.close())

it('pause gives back what is not started, lets handlers go on, and claims nothing until resume', async () => {
  const queue = await client.queue<number>()
  const ends: (() => void)[] = []
  let isHolding = false
  await using consumer = queue.consume(() => (isHolding ? new Promise<void>((end) => ends.push(end)) : undefined), {
    concurrency: 2,
  })
  await queue.enqueueMany(Array.from({ length: 30 }, (_, payload) => ({ payload })))
  await expect.poll(() => queue.stats()).toMatchObject(empty)
  isHolding = true
  await queue.enqueueMany(Array.from({ length: 30 }, (_, payload) => ({ payload })))
  await expect.poll(() => consumer.status.buffered).toBeGreaterThan(0)

  consumer.pause()
  expect(consumer.status).toMatchObject({ state: 'paused', buffered: 0, running: 2 })
  await expect.poll(() => queue.stats()).toMatchObject({ leased: 2, ready: 28 })
  isHolding = false
  for (const end of ends) end()
  await expect.poll(() => queue.stats()).toMatchObject({ leased: 0, ready: 28 })
  await queue.enqueue(99)
  await delay(100)
  expect(await queue.stats()).toMatchObject({ leased: 0, ready: 29 })

  consumer.resume()
  await expect.poll(() => queue.stats()).toMatchObject(empty)
  expect(consumer.status.state).toBe('running')
})

it('giving back is no failure: the message keeps its budget', async () => {
  const queue = await client.queue({ maxAttempts: 1 })
  const seen: number[] = []
  let pauseNow = true
  await using consumer = queue.consume(
    async (message) => {
      if (pauseNow) consumer.pause()
      pauseNow = false
      seen.push(message.failures)
    },
    { concurrency: 1 },
  )
  await queue.enqueueMany(Array.from({ length: 5 }, (_, payload) => ({ payload })))
  await expect.poll(() => consumer.status.state).toBe('paused')
  consumer.resume()
  await expect.poll(() => seen).toEqual([0, 0, 0, 0, 0])
  await expect.poll(() => queue.stats()).toMatchObject({ ...empty, dead: 0 })
})

it('a consumer that is paused and resumed while a claim is under way loses nothing', async () => {
  const queue = await client.queue<number>({ pollInterval: '1h' })
  const seen = new Set<number>()
  await using consumer = queue.consume(({ payload }) => void seen.add(payload), { concurrency: 3 })
  for (let payload = 0; payload < 100; payload++) {
    await queue.enqueue(payload)
    consumer.pause()
    if (payload % 3 === 0) await delay(1)
    consumer.resume()
  }
  await expect.poll(() => seen.size).toBe(100)
  await expect.poll(() => queue.stats()).toMatchObject(empty)
})
