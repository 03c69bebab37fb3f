import { setTimeout as delay } from 'node:timers/promises'
import { afterAll, beforeAll, expect } from 'vitest'
import { itListens, startClient, type TestClient } from '../client/client.js'

let client: TestClient
beforeAll(async () => {
  client = await startClient()
})
afterAll(() => client.close())

/** Ends the connections that listen to the schema of this test. */
const terminateListeners = () => client.sql`
  select pg_terminate_backend(pid) from pg_stat_activity
   where query ilike ${`listen%${client.schema}%`} and application_name like 'dueq%'`

itListens(
  'promise 6: a message enqueued while nobody listened is found when the listener is back, not an hour later',
  async () => {
    const queue = await client.queue<number>({ pollInterval: '1h' })
    const handled: number[] = []
    await using consumer = queue.consume(({ payload }) => void handled.push(payload))
    await client.event('listen.up')
    await expect.poll(() => consumer.status.lastClaimAt).not.toBeNull()
    await delay(600)
    for (let round = 0; round < 5; round++) {
      await expect.poll(terminateListeners).toHaveLength(1) // the one before may die a little later than it is told to
      await queue.enqueue(round)
      await expect.poll(() => handled, { timeout: 5_000 }).toContain(round)
      await expect.poll(() => client.dueq.check()).toMatchObject({ isListening: true })
      await delay(50)
    }
    await queue.enqueue(99)
    await expect.poll(() => handled).toEqual([0, 1, 2, 3, 4, 99])
  },
)

itListens('promise 6: with the listener gone for good, the delay is bounded by the poll interval', async () => {
  const queue = await client.queue({ pollInterval: '500ms' })
  let handledCount = 0
  await using _consumer = queue.consume(() => void handledCount++)
  let isOver = false
  const killing = (async () => {
    while (!isOver) {
      await terminateListeners()
      await delay(5)
    }
  })()
  for (let i = 1; i <= 3; i++) {
    const start = performance.now()
    await queue.enqueue({})
    await expect.poll(() => handledCount, { interval: 10 }).toBe(i)
    expect(performance.now() - start).toBeLessThan(3_000)
  }
  isOver = true
  await killing
})
