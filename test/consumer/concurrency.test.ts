import { setTimeout as delay } from 'node:timers/promises'
import { afterAll, beforeAll, expect, it } from 'vitest'
import { startClient, type TestClient } from '../client/client.js'

const empty = { delayed: 0, ready: 0, leased: 0, lapsed: 0 }

let client: TestClient
beforeAll(async () => {
  client = await startClient()
})
afterAll(() => client.close())

const items = (count: number) => Array.from({ length: count }, (_, payload) => ({ payload }))

it('never more than `concurrency` handlers run, and that many do', async () => {
  const queue = await client.queue()
  await queue.enqueueMany(items(200))
  let running = 0
  let most = 0
  await using consumer = queue.consume(
    async () => {
      most = Math.max(most, ++running)
      expect(consumer.status.running).toBeLessThanOrEqual(7)
      await delay(Math.random() * 4)
      running--
    },
    { concurrency: 7 },
  )
  await expect.poll(() => queue.stats(), { timeout: 5_000 }).toMatchObject(empty)
  expect(most).toBe(7)
})

it('promise 3: handlers that never wait leave timers and leases their turn', async () => {
  const queue = await client.queue({ lease: '1s', maxAttempts: 1 })
  const payloads = items(400)
  await queue.enqueueMany(payloads)
  let atOnce = 0
  let most = 0
  const turn = setInterval(() => {
    most = Math.max(most, atOnce)
    atOnce = 0
  }, 1)
  await using _consumer = queue.consume(
    () => {
      atOnce++
      const end = performance.now() + 5
      while (performance.now() < end);
    },
    { concurrency: 400 },
  )
  await expect.poll(() => queue.stats(), { timeout: 20_000 }).toMatchObject({ ...empty, dead: 0 })
  clearInterval(turn)
  expect(most).toBeLessThanOrEqual(10)
})

it('setConcurrency raises the bound at once, and lowers it as handlers end', async () => {
  const queue = await client.queue({ pollInterval: '1h' })
  await queue.enqueueMany(items(40))
  const ends: (() => void)[] = []
  await using consumer = queue.consume(() => new Promise<void>((end) => ends.push(end)), { concurrency: 2 })
  await expect.poll(() => consumer.status.running).toBe(2)
  consumer.setConcurrency(10)
  await expect.poll(() => consumer.status.running).toBe(10)
  consumer.setConcurrency(3)
  for (const end of ends.splice(0, 9)) end()
  await expect.poll(() => consumer.status.running).toBe(3)
  await delay(50)
  expect(ends).toHaveLength(3)
  expect(() => consumer.setConcurrency(0)).toThrow(/concurrency/)
  for (const end of ends) end()
  const draining = setInterval(() => ends.splice(0).forEach((end) => void end()), 1)
  await expect.poll(() => queue.stats(), { timeout: 5_000 }).toMatchObject(empty)
  clearInterval(draining)
})

it('nothing is claimed ahead for slow handlers, nor before the first handler is done', async () => {
  const queue = await client.queue()
  await queue.enqueueMany(items(100))
  await using consumer = queue.consume(() => delay(150), { concurrency: 3 })
  await expect.poll(() => consumer.status.running).toBe(3)
  for (let look = 0; look < 8; look++) {
    await delay(40)
    expect((await queue.stats()).leased).toBeLessThanOrEqual(3 + 2) // two may be between settle and claim
    expect(consumer.status.buffered).toBeLessThanOrEqual(2)
  }
  await consumer.stop({ mode: 'release' })
})

it('at most `prefetch` messages are claimed ahead of fast handlers', async () => {
  const queue = await client.queue()
  await queue.enqueueMany(items(1000))
  let most = 0
  await using consumer = queue.consume(
    () => {
      most = Math.max(most, consumer.status.buffered)
    },
    { concurrency: 2, prefetch: 20 },
  )
  await expect.poll(() => queue.stats(), { timeout: 5_000 }).toMatchObject(empty)
  expect(most).toBeGreaterThan(2)
  expect(most).toBeLessThanOrEqual(22)
})

it('what was claimed ahead of handlers that hang is given back, and another consumer handles it', async () => {
  const queue = await client.queue<number>()
  const handled: number[] = []
  let isHanging = false
  const ends: (() => void)[] = []
  await using hanging = queue.consume(() => (isHanging ? new Promise<void>((end) => ends.push(end)) : undefined), {
    concurrency: 2,
  })
  await queue.enqueueMany(items(50))
  await expect.poll(() => queue.stats()).toMatchObject(empty)
  isHanging = true
  await queue.enqueueMany(items(50))
  await expect.poll(() => hanging.status.buffered).toBeGreaterThan(0)
  await using _other = client
    .another()
    .queue<number>(queue.name)
    .consume(({ payload }) => void handled.push(payload))
  await expect.poll(() => handled.length, { timeout: 6_000 }).toBe(48)
  for (const end of ends) end()
})
