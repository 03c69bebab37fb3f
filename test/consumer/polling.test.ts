import { setTimeout as delay } from 'node:timers/promises'
import { afterAll, beforeAll, expect, it } from 'vitest'
import { startClient, type TestClient } from '../client/client.js'

// No notifications at all: what wakes is the poll interval, or what the last look has said.
let client: TestClient
beforeAll(async () => {
  client = await startClient({ listen: false })
})
afterAll(() => client.close())

it('promise 6: with notifications off, a message is delivered within the stored poll interval', async () => {
  const queue = await client.queue({ pollInterval: '400ms' })
  const handled: number[] = []
  await using consumer = queue.consume(() => void handled.push(performance.now()))
  await expect.poll(() => consumer.status.lastClaimAt).not.toBeNull()
  await delay(700)
  const start = performance.now()
  await queue.enqueue({})
  await expect.poll(() => handled, { interval: 5 }).toHaveLength(1)
  expect(handled[0]! - start).toBeLessThan(400 + 300)
})

it('promise 6: the option shortens the stored poll interval', async () => {
  const queue = await client.queue({ pollInterval: '1h' })
  const handled: unknown[] = []
  await using consumer = queue.consume((message) => void handled.push(message.id), { pollInterval: '150ms' })
  await expect.poll(() => consumer.status.lastClaimAt).not.toBeNull()
  await delay(700)
  await queue.enqueue({})
  await expect.poll(() => handled).toHaveLength(1)
})

it('promise 1: a message that the last look has seen comes on time without any notification, and never early', async () => {
  const queue = await client.queue<string>({ pollInterval: '1h' })
  const lateness: number[] = []
  await queue.enqueue('', { delay: '900ms' })
  await queue.enqueue('', { delay: '1100ms' })
  await using _consumer = queue.consume((message) => void lateness.push(message.latenessMs))
  await expect.poll(() => lateness, { timeout: 10_000 }).toHaveLength(2)
  for (const late of lateness) {
    expect(late).toBeGreaterThanOrEqual(0)
    expect(late).toBeLessThan(3_000)
  }
})

it('promise 5: a lease taken while the consumer was looking is known to it: the lapse is not missed', async () => {
  const queue = await client.queue({ pollInterval: '1h', lease: '1s' })
  const { id } = await queue.enqueue({})
  const table = client.sql(client.schema)
  const handled: number[] = []
  let start = 0
  const racing = client.sql.begin(async (tx) => {
    // Another consumer's claim, not committed yet while ours looks, and passes the row over.
    await tx`select id from ${table}.poll(${queue.name}, consumer => 'crashed') where id is not null`
    start = performance.now()
    const consumer = queue.consume((message) => void handled.push(message.attempt))
    await expect.poll(() => consumer.status.lastClaimAt).not.toBeNull()
    await delay(50)
    return consumer
  })
  await using _consumer = await racing
  await expect.poll(() => handled, { timeout: 10_000 }).toEqual([2])
  expect(performance.now() - start).toBeLessThan(5_000)
  await expect.poll(() => client.events.some((event) => event.type === 'message.acked' && event.id === id)).toBe(true)
})
