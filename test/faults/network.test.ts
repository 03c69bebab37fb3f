import { setTimeout as delay } from 'node:timers/promises'
import { afterAll, beforeAll, expect, it } from 'vitest'
import { startClient, type TestClient } from '../client/client.js'
import { startProxy } from './proxy.js'

let client: TestClient
beforeAll(async () => {
  client = await startClient()
})
afterAll(() => client.close())

it('promise 3: where extensions cannot get through, the signal aborts before the lease ends, and settles are refused', async () => {
  await using proxy = await startProxy(client.dueqUrl)
  const dueq = client.another({ url: proxy.url, timeout: '1s' })
  const { name } = await client.queue({ lease: '1s', pollInterval: '200ms' })
  const queue = dueq.queue(name)
  let abortedAt = 0
  const refused: unknown[] = []
  const consumer = queue.consume(async (message) => {
    if (message.attempt > 1) return
    proxy.freeze()
    await new Promise<void>((aborted) => message.signal.addEventListener('abort', () => aborted()))
    abortedAt = Date.now()
    await message.ack().catch((error) => refused.push(error.code))
  })
  // Not through the proxy: the handler freezes it, perhaps before the answer has passed.
  const { id } = await client.dueq.queue(name).enqueue({})
  await expect.poll(() => refused, { timeout: 5_000 }).toEqual(['lease.lost'])
  const [row] = await client.sql`
    select extract(epoch from ready_at)::float * 1000 as end
      from ${client.sql(client.schema)}.messages where id = ${id} and attempt = 1`
  expect(abortedAt).toBeLessThanOrEqual(row!['end'] as number)
  proxy.thaw()
  await expect.poll(() => client.dueq.queue(name).stats(), { timeout: 8_000 }).toMatchObject({ leased: 0, lapsed: 0 })
  await consumer.stop()
})

it('stop and close end by their deadline while the database does not answer', async () => {
  await using proxy = await startProxy(client.dueqUrl)
  const dueq = client.another({ url: proxy.url })
  const { name } = await client.queue({ pollInterval: '100ms' })
  const consumer = dueq.queue(name).consume(() => delay(30_000))
  await expect.poll(() => consumer.status.lastClaimAt).not.toBeNull()
  await client.dueq.queue(name).enqueue({})
  await expect.poll(() => consumer.status.running).toBe(1)
  proxy.freeze()
  await delay(150)
  const start = performance.now()
  expect(await consumer.stop({ deadline: '300ms' })).toMatchObject({ stillRunning: 1 })
  expect(performance.now() - start).toBeLessThan(5_000)
  expect(consumer.status.state).toBe('stopped')
  await dueq.close({ deadline: '300ms' })
  expect(performance.now() - start).toBeLessThan(10_000)
})

it('a consumer whose database refuses connections tells it, tries again, and goes on by itself', async () => {
  await using proxy = await startProxy(client.dueqUrl)
  const errors: string[] = []
  const dueq = client.another({
    url: proxy.url,
    onEvent: (event) => event.type === 'consumer.error' && errors.push(event.error.code),
  })
  const { name } = await client.queue({ pollInterval: '100ms' })
  let handledCount = 0
  await using consumer = dueq.queue(name).consume(() => void handledCount++)
  await expect.poll(() => consumer.status.lastClaimAt).not.toBeNull()
  proxy.refuse()
  proxy.cut()
  await expect.poll(() => errors.length, { timeout: 10_000 }).toBeGreaterThan(0)
  await client.dueq.queue(name).enqueue({})
  await delay(1_500)
  await proxy.accept()
  await expect.poll(() => handledCount, { timeout: 10_000 }).toBe(1)
  expect(new Set(errors)).toEqual(new Set(['database.unreachable']))
  expect(consumer.status.state).toBe('running')
})
