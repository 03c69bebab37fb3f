import { setTimeout as delay } from 'node:timers/promises'
import { afterAll, beforeAll, expect, it } from 'vitest'
import { startClient, type TestClient } from '../client/client.js'
import { openSession } from '../support/sessions.js'

let client: TestClient
beforeAll(async () => {
  client = await startClient()
})
afterAll(() => client.close())

const empty = { delayed: 0, ready: 0, leased: 0, lapsed: 0 }

it('promise 5: handlers that take longer than their lease keep it; nobody else gets the message', async () => {
  const queue = await client.queue({ lease: '1s', pollInterval: '100ms' })
  const attempts: number[] = []
  const handler = async ({ attempt, signal }: { attempt: number; signal: AbortSignal }) => {
    attempts.push(attempt)
    await delay(2_300)
    expect(signal.aborted).toBe(false)
  }
  await using _first = queue.consume(handler, { concurrency: 30 })
  await using _second = client.another().queue(queue.name).consume(handler)
  await queue.enqueueMany(Array.from({ length: 30 }, (_, payload) => ({ payload })))
  await expect.poll(() => queue.stats(), { timeout: 5_000 }).toMatchObject({ ...empty, dead: 0 })
  expect(attempts).toEqual(Array(30).fill(1))
})

it('an ack left open in a transaction of another session stalls neither extensions nor acks of other messages', async () => {
  const queue = await client.queue<string>({ lease: '1s', pollInterval: '300ms' })
  await using session = await openSession()
  const acked: string[] = []
  let isLocked = () => {}
  const locked = new Promise<void>((resolve) => {
    isLocked = resolve
  })
  await using _consumer = queue.consume(async (message) => {
    if (message.payload === 'open') {
      if (message.attempt > 1) return
      await session.begin()
      await session.query(`select ${client.schema}.ack($1, $2)`, [message.id, message.attempt])
      isLocked()
      await delay(100)
      return
    }
    await locked
    if (message.payload === 'long') await delay(1_600)
    expect(message.signal.aborted).toBe(false)
    await message.ack()
    acked.push(message.payload)
  })
  await queue.enqueueMany(['open', 'long', 'short', 'short'].map((payload) => ({ payload })))
  await expect.poll(() => acked.length).toBe(2)
  await expect.poll(() => acked).toContain('long')
  await session.rollback()
  await expect.poll(() => queue.stats()).toMatchObject({ lapsed: 0, leased: 0 })
})

it('a handler may end its lease early by a short extension no more than it may outlast a longer one', async () => {
  const queue = await client.queue({ lease: '1s' })
  let endsAt: Date | undefined
  await using _consumer = queue.consume(async (message) => {
    endsAt = await message.extend('10m')
    await delay(1_300)
    expect(message.signal.aborted).toBe(false)
  })
  const { id } = await queue.enqueue({})
  await expect.poll(() => endsAt).toBeDefined()
  const [row] = await client.sql`
    select extract(epoch from ready_at - clock_timestamp())::float as left_s
      from ${client.sql(client.schema)}.messages where id = ${id}`
  expect(row!['left_s']).toBeGreaterThan(595)
  await expect.poll(() => queue.stats()).toMatchObject(empty)
})

it('promise 3: an event loop that was blocked for longer than the lease loses it: signal, refused ack, one redelivery', async () => {
  const queue = await client.queue({ lease: '1s', pollInterval: '100ms' })
  const attempts: number[] = []
  const refused: unknown[] = []
  await using _consumer = queue.consume(async (message) => {
    attempts.push(message.attempt)
    if (message.attempt > 1) return
    Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 1_200)
    await message.ack().catch((error) => refused.push(error.code))
    expect(message.signal.aborted).toBe(true)
  })
  await queue.enqueue({})
  await expect.poll(() => attempts).toEqual([1, 2])
  await expect.poll(() => queue.stats()).toMatchObject(empty)
  expect(refused).toEqual(['lease.lost'])
  expect(client.events.filter((event) => event.type === 'lease.lost' && event.queue === queue.name)).toHaveLength(1)
})
