import { setTimeout as delay } from 'node:timers/promises'
import { afterAll, beforeAll, expect, it } from 'vitest'
import type { Consumer, Dueq } from '../../src/index.js'
import { startClient, type TestClient } from '../client/client.js'

let client: TestClient
beforeAll(async () => {
  client = await startClient()
})
afterAll(() => client.close())

type Counted = {
  readonly dueq: Dueq
  readonly lookCount: () => number
  /** The most looks that were under way at once. */
  readonly most: () => number
  /** The next look is sent and never answered. */
  hangNext(): void
  readonly isHanging: () => boolean
}

/** A client that listens, and counts its looks. */
function counted(): Counted {
  let count = 0
  let underWay = 0
  let most = 0
  let hang: 'not' | 'next' | 'now' = 'not'
  const dueq = client.another({
    listenUrl: client.url,
    async query(text, params) {
      const isLook = text.includes('.poll(')
      if (isLook) count++
      if (isLook && hang === 'next') {
        hang = 'now'
        await new Promise(() => {})
      }
      if (isLook) most = Math.max(most, ++underWay)
      const rows = await client.sql.unsafe(text, params).values()
      if (isLook) underWay--
      return rows
    },
  })
  return {
    dueq,
    lookCount: () => count,
    most: () => most,
    hangNext: () => void (hang = 'next'),
    isHanging: () => hang === 'now',
  }
}

/** Waits until notifications arrive and the looks of the start are over. */
async function settled({ dueq }: Counted): Promise<void> {
  await expect.poll(() => dueq.check(), { timeout: 10_000 }).toMatchObject({ isListening: true })
  await delay(500)
}

const many = (count: number, start: () => Consumer): Consumer[] => Array.from({ length: count }, start)
const stopAll = (consumers: readonly Consumer[]): Promise<unknown> => Promise.all(consumers.map((one) => one.stop()))

it('16 idle consumers of a client look once in a poll interval, not once each', async () => {
  const { name } = await client.queue({ pollInterval: '500ms' })
  const process = counted()
  const consumers = many(16, () => process.dueq.queue(name).consume(() => {}))
  await settled(process)
  const [before, start] = [process.lookCount(), performance.now()]
  await delay(2_500)
  const most = (2 * (performance.now() - start)) / 450 + 1 // 16 times as many were they to look each
  expect(process.lookCount() - before).toBeLessThanOrEqual(most)
  expect(process.lookCount() - before).toBeGreaterThan(1)
  await stopAll(consumers)
})

it.each([
  ['16 consumers', 16, 10],
  ['16 consumers with one handler each', 16, 1],
  ['one consumer with 16 handlers', 1, 16],
])(
  'one enqueue makes a process look once, and once more where it gets the message: %s',
  async (_, count, concurrency) => {
    const { name } = await client.queue<number>({ pollInterval: '1h' })
    const processes = [counted(), counted()]
    let handled = 0
    const consumers = processes.flatMap(({ dueq }) =>
      many(count, () => dueq.queue(name).consume(() => void handled++, { concurrency })),
    )
    await Promise.all(processes.map(settled))
    const sums: number[] = []
    for (let round = 1; round <= 7; round++) {
      const before = processes.map(({ lookCount }) => lookCount())
      await client.dueq.queue(name).enqueue(round)
      await expect.poll(() => handled).toBe(round)
      await delay(200)
      const looks = processes.map(({ lookCount }, i) => lookCount() - before[i]!)
      sums.push(looks.reduce((sum, one) => sum + one))
    }
    // Not in each round: those who announce that they sleep, or find a row locked, look again a little later.
    expect(sums.sort((a, b) => a - b)[3]).toBeLessThanOrEqual(processes.length + 1)
    await stopAll(consumers)
  },
)

it('1,000 consumers on one queue start with a few looks', async () => {
  const { name } = await client.queue({ pollInterval: '1h' })
  const process = counted()
  const consumers = many(1_000, () => process.dueq.queue(name).consume(() => {}))
  await settled(process)
  await expect.poll(() => consumers.every(({ status }) => status.lastClaimAt !== null)).toBe(true)
  expect(process.lookCount()).toBeLessThanOrEqual(20)
  await stopAll(consumers)
})

it('consumers on 500 queues start with a few looks at a time', async () => {
  const names = Array.from({ length: 500 }, (_, i) => `start-${i}`)
  await client.sql`select ${client.sql(client.schema)}.create_queue(name) from unnest(${names}::text[]) name`
  const process = counted()
  const consumers = names.map((name) => process.dueq.queue(name).consume(() => {}))
  await expect.poll(() => process.dueq.check(), { timeout: 10_000 }).toMatchObject({ isListening: true })
  await expect.poll(() => consumers.every(({ status }) => status.lastClaimAt !== null), { timeout: 10_000 }).toBe(true)
  expect(process.most()).toBeLessThanOrEqual(100) // 25, and as many more as hang for a second on a busy machine
  await stopAll(consumers)
})

it('promise 2: a look that hangs holds up nobody else for more than a moment', async () => {
  const { name } = await client.queue<number>({ pollInterval: '1h' })
  const process = counted()
  const handled: number[] = []
  const consumers = many(2, () => process.dueq.queue<number>(name).consume(({ payload }) => void handled.push(payload)))
  await settled(process)
  process.hangNext()
  await client.dueq.queue<number>(name).enqueue(1)
  await expect.poll(process.isHanging).toBe(true)
  await expect.poll(() => handled, { timeout: 10_000 }).toEqual([1])
  await client.dueq.queue<number>(name).enqueue(2)
  await expect.poll(() => handled, { timeout: 10_000 }).toEqual([1, 2])
  await Promise.all(consumers.map((consumer) => consumer.stop({ deadline: '100ms' })))
})

it('promise 2: a lone consumer looks again on another connection where a look hangs', async () => {
  const { name } = await client.queue<number>({ pollInterval: '1h' })
  const process = counted()
  const handled: number[] = []
  const consumer = process.dueq.queue<number>(name).consume(({ payload }) => void handled.push(payload))
  await settled(process)
  for (const payload of [1, 2]) {
    process.hangNext()
    await client.dueq.queue<number>(name).enqueue(payload)
    await expect.poll(process.isHanging).toBe(true)
    await expect.poll(() => handled, { timeout: 10_000 }).toContain(payload)
  }
  await client.dueq.queue<number>(name).enqueue(3)
  await expect.poll(() => handled, { timeout: 10_000 }).toEqual([1, 2, 3])
  await consumer.stop({ deadline: '100ms' })
})

it('promise 2: whoever is paused, stopped or full hands the turn on: nothing waits for the poll interval', async () => {
  const { name } = await client.queue<number>({ pollInterval: '1h' })
  const process = counted()
  const handled = new Set<number>()
  const queue = process.dueq.queue<number>(name)
  const start = (): Consumer =>
    queue.consume(({ payload }) => delay(1).then(() => void handled.add(payload)), { concurrency: 1 })
  let consumers = many(4, start)
  await settled(process)
  for (let round = 0; round < 60; round++) {
    await client.dueq.queue<number>(name).enqueue(round)
    if (round % 3 === 0) await delay(1)
    const [first, second, ...others] = consumers
    first!.pause()
    if (round % 5 === 0) {
      void second!.stop()
      consumers = [...others, first!, start()]
    } else consumers = [...others, second!, first!]
    others[0]!.resume()
    others[1]!.resume()
  }
  await expect.poll(() => handled.size, { timeout: 10_000 }).toBe(60)
  await stopAll(consumers)
})

it('waiting dequeues and consumers share the watch: each message finds one that has room', async () => {
  const { name } = await client.queue<number>({ pollInterval: '1h' })
  const process = counted()
  const queue = process.dueq.queue<number>(name)
  const seen: number[] = []
  const ends: (() => void)[] = []
  await using _consumer = queue.consume(
    ({ payload }) => {
      seen.push(payload)
      return new Promise<void>((end) => ends.push(end))
    },
    { concurrency: 1, prefetch: 0 },
  )
  const polls = Array.from({ length: 3 }, () => queue.dequeue({ wait: '20s' }))
  await settled(process)
  for (let round = 0; round < 4; round++) await client.dueq.queue<number>(name).enqueue(round)
  for (const [message] of await Promise.all(polls)) {
    seen.push(message!.payload)
    await message!.ack()
  }
  await expect.poll(() => [...seen].sort()).toEqual([0, 1, 2, 3])
  for (const end of ends) end()
})
