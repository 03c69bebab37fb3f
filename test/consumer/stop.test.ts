import { setTimeout as delay } from 'node:timers/promises'
import { afterAll, beforeAll, expect, it } from 'vitest'
import { startClient, type TestClient } from '../client/client.js'

let client: TestClient
beforeAll(async () => {
  client = await startClient()
})
afterAll(() => client.close())

const empty = { delayed: 0, ready: 0, leased: 0, lapsed: 0 }
const items = (count: number) => Array.from({ length: count }, (_, payload) => ({ payload }))

it('finish: handlers under way run to their end, what is not started is given back', async () => {
  const queue = await client.queue()
  let isSlow = false
  let startedCount = 0
  const consumer = queue.consume(
    async () => {
      startedCount++
      if (isSlow) await delay(200)
    },
    { concurrency: 4 },
  )
  await queue.enqueueMany(items(100))
  await expect.poll(() => queue.stats()).toMatchObject(empty)
  isSlow = true
  await queue.enqueueMany(items(100))
  await expect.poll(() => consumer.status.buffered).toBeGreaterThan(0)
  const started = startedCount
  const { buffered, running } = consumer.status
  expect(await consumer.stop()).toEqual({ finished: running, released: buffered, stillRunning: 0 })
  expect(startedCount).toBe(started)
  expect(consumer.status).toMatchObject({ state: 'stopped', running: 0, buffered: 0, settling: 0 })
  const stats = await queue.stats()
  expect(stats).toMatchObject({ leased: 0, ready: 200 - started })
  expect(await consumer.stopped).toMatchObject({ stillRunning: 0 })
})

it('a claim that is under way when the stop comes starts no handler: what it brings is given back', async () => {
  for (let round = 0; round < 10; round++) {
    const queue = await client.queue()
    await queue.enqueueMany(items(20))
    let startedCount = 0
    const consumer = queue.consume(() => void startedCount++, { concurrency: 20 })
    await delay(round / 4)
    const report = await consumer.stop()
    const started = startedCount
    await delay(5)
    expect(startedCount).toBe(started)
    const { ready, leased } = await queue.stats()
    expect({ ready, leased }).toEqual({ ready: 20 - started, leased: 0 })
    expect(report.released).toBeLessThanOrEqual(20)
  }
})

it('release: signals abort, and what handlers throw then gives the message back, no failure counted', async () => {
  const queue = await client.queue()
  await queue.enqueueMany(items(5))
  const consumer = queue.consume(
    ({ signal }) => new Promise((_, reject) => signal.addEventListener('abort', () => reject(signal.reason))),
  )
  await expect.poll(() => consumer.status.running).toBe(5)
  expect(await consumer.stop({ mode: 'release' })).toEqual({ finished: 0, released: 5, stillRunning: 0 })
  const rows = await client.sql`
    select failures, leased_by from ${client.sql(client.schema)}.messages
     where queue_id = (select id from ${client.sql(client.schema)}.queues where name = ${queue.name})`
  expect(rows.map((row) => ({ ...row }))).toEqual(Array(5).fill({ failures: 0, leased_by: null }))
})

it('drain: goes on until nothing is ready, including what handlers enqueue meanwhile', async () => {
  const queue = await client.queue<number>({ pollInterval: '1h' })
  await queue.enqueueMany(items(30))
  const consumer = queue.consume(
    async ({ payload }) => {
      await delay(5)
      if (payload < 60) await queue.enqueue(payload + 30)
    },
    { concurrency: 3 },
  )
  const report = await consumer.stop({ mode: 'drain' })
  expect(report).toEqual({ finished: 90, released: 0, stillRunning: 0 })
  expect(await queue.stats()).toMatchObject(empty)
})

it('drain on an empty queue ends at once, and does not wait for what is due later', async () => {
  const queue = await client.queue({ pollInterval: '1h' })
  await queue.enqueue({}, { delay: '1h' })
  const consumer = queue.consume(() => {})
  await expect.poll(() => consumer.status.lastClaimAt).not.toBeNull()
  const start = performance.now()
  await consumer.stop({ mode: 'drain' })
  expect(performance.now() - start).toBeLessThan(5_000)
})

it('at the deadline signals abort, and handlers that go on are reported', async () => {
  const queue = await client.queue()
  await queue.enqueueMany(items(3))
  const ends: (() => void)[] = []
  const signals: AbortSignal[] = []
  const consumer = queue.consume(({ signal }) => {
    signals.push(signal)
    return new Promise<void>((end) => ends.push(end))
  })
  await expect.poll(() => consumer.status.running).toBe(3)
  const start = performance.now()
  expect(await consumer.stop({ deadline: '200ms' })).toEqual({ finished: 0, released: 0, stillRunning: 3 })
  expect(performance.now() - start).toBeGreaterThanOrEqual(195)
  expect(performance.now() - start).toBeLessThan(5_000)
  expect(signals.map((signal) => (signal.reason as { code: string }).code)).toEqual(Array(3).fill('consumer.stopped'))
  for (const end of ends) end()
  await expect.poll(() => queue.stats()).toMatchObject(empty)
})

it('a second stop gets the same report, and may only hurry the first', async () => {
  const queue = await client.queue()
  await queue.enqueue({})
  let end = (): void => {}
  const consumer = queue.consume(() => new Promise<void>((resolve) => (end = resolve)))
  await expect.poll(() => consumer.status.running).toBe(1)
  const first = consumer.stop({ mode: 'drain', deadline: '1h' })
  expect(consumer.status.state).toBe('draining')
  const second = consumer.stop({ deadline: '100ms' })
  expect(consumer.status.state).toBe('stopping')
  expect(await first).toEqual({ finished: 0, released: 0, stillRunning: 1 })
  expect(await second).toEqual(await first)
  await expect(consumer.stop({ mode: 'soon' as never })).rejects.toMatchObject({ code: 'option.invalid' })
  end()
})

it('the signal option stops the consumer, also one that is aborted already', async () => {
  const queue = await client.queue()
  const controller = new AbortController()
  const consumer = queue.consume(() => {}, { signal: controller.signal })
  await expect.poll(() => consumer.status.lastClaimAt).not.toBeNull()
  controller.abort()
  expect(await consumer.stopped).toEqual({ finished: 0, released: 0, stillRunning: 0 })
  await queue.enqueue({})
  await queue.consume(() => expect.unreachable(), { signal: controller.signal }).stopped
  expect(await queue.stats()).toMatchObject({ ready: 1, leased: 0 })
})

it('close of the client stops its consumers and sums their reports', async () => {
  const { name } = await client.queue()
  const dueq = client.another()
  await dueq.queue(name).enqueueMany(items(4))
  const consumers = [1, 2].map(() => dueq.queue(name).consume(() => delay(150), { concurrency: 2 }))
  await expect.poll(() => consumers.map((consumer) => consumer.status.running)).toEqual([2, 2])
  expect(await dueq.close()).toEqual({ finished: 4, released: 0, stillRunning: 0 })
  expect(consumers.map((consumer) => consumer.status.state)).toEqual(['stopped', 'stopped'])
})
