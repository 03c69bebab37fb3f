import { setTimeout as delay } from 'node:timers/promises'
import { afterAll, beforeAll, expect } from 'vitest'
import type { ConsumeOptions, Consumer, Duration } from '../../src/index.js'
import type { QueueHandle } from '../../src/queue.js'
import { itListens as it, startClient, type TestClient } from '../client/client.js'

// With an hour-long poll interval nothing but a notification wakes within the time of these tests.
let client: TestClient
let other: ReturnType<TestClient['another']>
beforeAll(async () => {
  client = await startClient()
  other = client.another({ listen: false })
})
afterAll(() => client.close())

type Idle = { readonly queue: QueueHandle<unknown, unknown>; readonly consumer: Consumer; readonly handled: number[] }

/** A consumer that looked, and will not look again by itself for an hour; `queue` belongs to another connection. */
async function idleConsumer(options: ConsumeOptions = {}, pollInterval: Duration = '1h'): Promise<Idle> {
  const own = await client.queue({ pollInterval })
  const handled: number[] = []
  const consumer = own.consume(() => void handled.push(performance.now()), options)
  await client.event('listen.up')
  await settled(consumer)
  return { queue: other.queue(own.name), consumer, handled }
}

/** Waits until the first look and the second one after it are over. */
async function settled(consumer: Consumer): Promise<void> {
  await expect.poll(() => consumer.status.lastClaimAt).not.toBeNull()
  await delay(600)
}

it('promise 6: an enqueue on another connection wakes at once', async () => {
  const { queue, consumer, handled } = await idleConsumer()
  await using _ = consumer
  const start = performance.now()
  await queue.enqueue({})
  await expect.poll(() => handled, { interval: 5 }).toHaveLength(1)
  expect(handled[0]! - start).toBeLessThan(3_000)
})

it('promise 6: the poll interval of the consumer is bounded by that of the queue, and does not stop waking', async () => {
  const { queue, consumer, handled } = await idleConsumer({ pollInterval: '1h' }, '1h')
  await using _ = consumer
  await queue.enqueue({})
  await expect.poll(() => handled).toHaveLength(1)
})

it.each<[string, (queue: QueueHandle<unknown, unknown>) => Promise<unknown>]>([
  ['a nack', async (queue) => (await queue.dequeue())[0]!.nack('again', { delay: 0 })],
  ['a release', async (queue) => (await queue.dequeue())[0]!.release()],
])('promise 6: %s by another connection wakes', async (_, act) => {
  const { queue, consumer, handled } = await idleConsumer()
  await using _consumer = consumer
  consumer.pause()
  await queue.enqueue({})
  const acting = (async () => {
    await expect.poll(() => queue.stats()).toMatchObject({ ready: 1 })
    const [message] = await queue.dequeue()
    await message!.release({ delay: '1h' })
    consumer.resume()
    await settled(consumer)
    await other.reschedule(message!.id, { delay: '1h' })
    const table = client.sql(client.schema)
    // Moved without a notification, so that only what follows can wake.
    await client.sql`update ${table}.messages set ready_at = clock_timestamp() where id = ${message!.id}`
    await act(queue)
  })()
  await acting
  await expect.poll(() => handled).toHaveLength(1)
})

it('promise 6: a reschedule by another connection wakes', async () => {
  const { queue, consumer, handled } = await idleConsumer()
  await using _ = consumer
  const { id } = await queue.enqueue({}, { delay: '2h' })
  await other.reschedule(id, { delay: 0 })
  await expect.poll(() => handled).toHaveLength(1)
})

it('promise 6: a redrive by another connection wakes', async () => {
  const own = await client.queue({ pollInterval: '1h' })
  const queue = other.queue(own.name)
  await queue.enqueue({})
  await (await queue.dequeue())[0]!.deadLetter('test')
  const handled: unknown[] = []
  await using consumer = own.consume((message) => void handled.push(message.id))
  await settled(consumer)
  await queue.redrive()
  await expect.poll(() => handled).toHaveLength(1)
})

it('promise 6: resuming the queue by another connection wakes', async () => {
  const { queue, consumer, handled } = await idleConsumer()
  await using _ = consumer
  await queue.pause()
  await queue.enqueue({})
  await delay(100)
  expect(handled).toHaveLength(0)
  await queue.resume()
  await expect.poll(() => handled).toHaveLength(1)
})

it('promise 1: a sooner message re-arms the consumer that waits for a later one; both come on time', async () => {
  const { queue, consumer, handled } = await idleConsumer()
  await using _ = consumer
  const start = performance.now()
  await queue.enqueue({}, { delay: '2s' })
  await queue.enqueue({}, { delay: '300ms' })
  await expect.poll(() => handled, { interval: 5 }).toHaveLength(2)
  expect(handled[0]! - start).toBeGreaterThanOrEqual(300)
  expect(handled[0]! - start).toBeLessThan(2_000)
  expect(handled[1]! - start).toBeGreaterThanOrEqual(2_000)
})

it('a storm of notifications loses nothing and delivers each message once', async () => {
  const { queue, consumer, handled } = await idleConsumer({ concurrency: 50 })
  await using _ = consumer
  await Promise.all(Array.from({ length: 500 }, (_, payload) => queue.enqueue(payload)))
  for (let i = 0; i < 200; i++) await client.sql.notify(client.schema, `${queue.name} ${i}`)
  await client.sql.notify(client.schema, 'no such form')
  await client.sql.notify(client.schema, `${queue.name} not-a-number`)
  await expect.poll(() => handled.length).toBe(500)
  await expect.poll(() => queue.stats()).toMatchObject({ ready: 0, leased: 0 })
  expect(handled).toHaveLength(500)
})
