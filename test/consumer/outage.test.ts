// What a consumer does while its database fails, on a query function that can be told to fail.
import { afterAll, beforeAll, expect, it } from 'vitest'
import { startClient, type TestClient } from '../client/client.js'

let client: TestClient
let isDown = false
let failing = /never/
let calls = 0
beforeAll(async () => {
  client = await startClient()
})
afterAll(() => client.close())

/** A client whose statements fail as told, and its events. */
function fragile() {
  const types: string[] = []
  const dueq = client.another({
    url: undefined,
    query: async (text, params) => {
      calls++
      if (isDown || failing.test(text)) throw Object.assign(new Error('the server is closing'), { code: '57P01' })
      return client.sql.unsafe(text, params as never[])
    },
    onEvent: ({ type }) => types.push(type),
  })
  return { dueq, types }
}

it('an outage that outlasts the poll interval is met with back-off, not with a storm', async () => {
  const { name } = await client.queue({ pollInterval: '100ms' })
  const { dueq, types } = fragile()
  await using consumer = dueq.queue(name).consume(() => {})
  await expect.poll(() => consumer.status.lastClaimAt).not.toBeNull()
  isDown = true
  calls = 0
  await new Promise((resolve) => setTimeout(resolve, 1500))
  isDown = false
  expect(calls).toBeLessThan(15)
  expect(types.filter((type) => type === 'consumer.error').length).toBeGreaterThan(2)
})

it('promise 2: a rejected payload whose dead-lettering fails is not held for ever', async () => {
  const { name } = await client.queue({ lease: '1s', pollInterval: '100ms' })
  await client.dueq.queue(name).enqueue('bad')
  const refusing = {
    '~standard': { version: 1, vendor: 'test', validate: () => ({ issues: [{ message: 'bad' }] }) },
  } as const
  const { dueq } = fragile()
  failing = /dead_letter\(/
  const { defineQueue } = await import('../../src/index.js')
  await using _consumer = dueq.queue(defineQueue(name, { payload: refusing })).consume(() => {})
  await expect.poll(async () => (await client.dueq.queue(name).stats()).leased).toBe(1)
  failing = /never/
  await expect.poll(async () => (await client.dueq.queue(name).stats()).dead, { timeout: 5000 }).toBe(1)
})

it('a listener that rejects, or throws what has no text form, does not touch delivery', async () => {
  const { name } = await client.queue()
  const warnings: unknown[] = []
  const onWarning = (warning: unknown) => warnings.push(warning)
  process.on('warning', onWarning)
  const listeners = [
    async () => Promise.reject(new Error('later')),
    () => {
      throw Object.create(null)
    },
  ]
  for (const onEvent of listeners) {
    const handled: unknown[] = []
    const dueq = client.another({ onEvent })
    await using _consumer = dueq.queue(name).consume(({ payload }) => handled.push(payload))
    await client.dueq.queue(name).enqueue(1)
    await expect.poll(() => handled).toEqual([1])
    await expect.poll(async () => (await client.dueq.queue(name).stats()).leased).toBe(0)
  }
  process.off('warning', onWarning)
  expect(warnings.length).toBeGreaterThan(0)
})

it('a handler that obeys its signal at the deadline of a stop is counted as given back, not as running', async () => {
  const { name } = await client.queue()
  await client.dueq.queue(name).enqueue(1)
  const consumer = client.dueq
    .queue(name)
    .consume(({ signal }) => new Promise((_, reject) => signal.addEventListener('abort', () => reject(signal.reason))))
  await expect.poll(() => consumer.status.running).toBe(1)
  expect(await consumer.stop({ deadline: 100 })).toEqual({ finished: 0, released: 1, stillRunning: 0 })
  expect(await client.dueq.queue(name).stats()).toMatchObject({ ready: 1, leased: 0 })
})
