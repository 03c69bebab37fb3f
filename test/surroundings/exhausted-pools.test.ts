import { setTimeout as delay } from 'node:timers/promises'
import pg from 'pg'
import postgres from 'postgres'
import { afterAll, beforeAll, expect, it } from 'vitest'
import { codeOf, startClient, type TestClient } from '../client/client.js'

let test: TestClient
beforeAll(async () => {
  test = await startClient()
})
afterAll(() => test.close())

const nothingLeft = { delayed: 0, ready: 0, leased: 0, lapsed: 0, dead: 0 }

it('200 calls at once over one connection all come through, beside a consumer on the same one', async () => {
  const dueq = test.another({ url: test.url, max: 1 })
  const { name } = await test.queue({ pollInterval: '100ms' })
  const queue = dueq.queue(name)
  const handled = new Set<string>()
  const consumer = queue.consume(({ id }) => void handled.add(id), { concurrency: 50 })
  const calls = Array.from({ length: 200 }, async (_, i) => {
    if (i % 4 === 0) return (await queue.enqueue(i, { dedupKey: `${i}` })).id
    if (i % 4 === 1) return (await queue.enqueueMany([{ payload: i }]))[0]!.id
    if (i % 4 === 2) await dueq.stats()
    return (await queue.enqueue(i)).id
  })
  const ids = await Promise.all(calls)
  await expect.poll(() => ids.filter((id) => !handled.has(id)), { timeout: 10_000 }).toEqual([])
  await consumer.stop({ mode: 'drain', deadline: '10s' })
  expect(await queue.stats()).toMatchObject(nothingLeft)
})

/** A pool of one connection of the caller, by both drivers. `hold` keeps it from everybody for so long. */
const pools = {
  pg() {
    const pool = new pg.Pool({ connectionString: test.url, max: 1 })
    pool.on('error', () => {})
    return {
      options: { pool },
      async hold(ms: number) {
        const client = await pool.connect()
        await delay(ms)
        client.release()
      },
      end: () => pool.end(),
    }
  },
  'postgres.js'() {
    const sql = postgres(test.url, { max: 1, onnotice: () => {} })
    return {
      options: { sql },
      hold: async (ms: number) => void (await sql`select pg_sleep(${ms / 1000})`),
      end: () => sql.end(),
    }
  },
}
const drivers = ['pg', 'postgres.js'] as const

it.each(drivers)('a pool of one (%s) that its owner holds for seconds delays, and nothing else', async (driver) => {
  const { options, hold, end } = pools[driver]()
  const dueq = test.another(options)
  const { name } = await test.queue({ lease: '6s', pollInterval: '100ms' })
  const queue = dueq.queue(name)
  const attempts: number[] = []
  const consumer = queue.consume(async ({ attempt }) => {
    await delay(50)
    attempts.push(attempt)
  })
  const producing = Promise.all(Array.from({ length: 20 }, (_, i) => queue.enqueue(i)))
  await hold(1_000)
  await producing
  await hold(1_000)
  await expect.poll(() => attempts, { timeout: 10_000 }).toEqual(Array(20).fill(1))
  await consumer.stop({ mode: 'drain', deadline: '10s' })
  expect(await test.dueq.queue(name).stats()).toMatchObject(nothingLeft)
  await dueq.close()
  await end()
})

it.each(drivers)(
  'a pool of one (%s) held longer than the deadline: what was claimed too late is given back',
  async (driver) => {
    const { options, hold, end } = pools[driver]()
    const dueq = test.another({ ...options, timeout: '400ms' })
    const { name } = await test.queue({ lease: '1m', pollInterval: '100ms' })
    const attempts: number[][] = []
    await dueq.check()
    const holding = hold(1_500)
    await delay(50)
    const consumer = dueq.queue(name).consume(({ attempt, failures }) => void attempts.push([attempt, failures]))
    await test.dueq.queue(name).enqueue(1)
    await holding
    await expect.poll(() => attempts.length, { timeout: 10_000 }).toBe(1)
    expect(attempts[0]![1]).toBe(0)
    await consumer.stop({ mode: 'drain', deadline: '10s' })
    expect(await test.dueq.queue(name).stats()).toMatchObject(nothingLeft)
    await dueq.close()
    await end()
  },
)

it.each(drivers)('a pool (%s) that its owner has ended: a clear error at once, and close works', async (driver) => {
  const { options, end } = pools[driver]()
  const dueq = test.another(options)
  await dueq.check()
  const { name } = await test.queue()
  const errors: string[] = []
  await end()
  const failure = await dueq
    .queue(name)
    .enqueue(1)
    .catch((error) => error)
  expect(failure).toMatchObject({ name: 'DueqError', code: 'connection.invalid' })
  expect(failure.message).toMatch(/pool after calling end|CONNECTION_ENDED/)
  const consumer = dueq.queue(name).consume((message) => void errors.push(message.id))
  await expect(consumer.stopped).rejects.toMatchObject({ code: 'connection.invalid' })
  await dueq.close({ deadline: '500ms' })
  expect(await codeOf(dueq.check())).toBe('client.closed')
})
