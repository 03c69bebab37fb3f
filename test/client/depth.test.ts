// Backpressure in the client: refused with a code, or waiting for room outside of any transaction, in a line per queue.
import { setTimeout as delay } from 'node:timers/promises'
import { afterAll, beforeAll, expect, it } from 'vitest'
import { type ConnectOptions, defineQueue, type EnqueueItem, type QueryFunction } from '../../src/index.js'
import { codeOf, startClient, type TestClient } from './client.js'

let test: TestClient
beforeAll(async () => {
  test = await startClient()
})
afterAll(() => test.close())

const range = (count: number): readonly number[] => Array.from({ length: count }, (_, i) => i)
const depth = async (queue: {
  stats(): Promise<{ delayed: number; ready: number; leased: number; lapsed: number }>
}) => {
  const { delayed, ready, leased, lapsed } = await queue.stats()
  return delayed + ready + leased + lapsed
}
/** Lets go what was let in first, as a consumer does. */
const drain = (name: string, count: number) => test.sql`select ${test.sql(test.schema)}.purge(${name}, max => ${count})`

/** A client over a driver that counts the enqueue statements. */
async function counted(maxDepth: number, options: ConnectOptions = {}) {
  const { name } = await test.queue({ maxDepth })
  const sent: number[] = []
  const query: QueryFunction = (text, params) => {
    if (text.includes('enqueue')) sent.push(performance.now())
    return test.sql.unsafe(text, params as never[]).values()
  }
  const dueq = test.another({ query, listen: false, ...options })
  return { dueq, queue: dueq.queue<number>(name), name, sent }
}

it('a full queue refuses with queue.full, which says depth, limit, room and what to do', async () => {
  const queue = await test.queue<number>({ maxDepth: 2 })
  await queue.enqueueMany([{ payload: 1 }, { payload: 2 }])
  const error = await queue.enqueue(3).catch((thrown: unknown) => thrown)
  expect(error).toMatchObject({
    code: 'queue.full',
    isOutcomeUnknown: false,
    message: expect.stringMatching(
      /^Queue "q\d+" is full: it holds at least 2 messages, its max_depth is 2\. Try again/,
    ),
    details: { sqlState: 'DQ007', queue: queue.name, depth: 2, maxDepth: 2, room: 0, wanted: 1 },
  })
  expect(await queue.stats()).toMatchObject({ ready: 2, maxDepth: 2 })
})

it('wait: an enqueue into a full queue waits in the client until there is room', async () => {
  const { queue, name } = await counted(3)
  await queue.enqueueMany(range(3).map((payload) => ({ payload })))
  let isIn = false
  const waiting = queue.enqueue(4, { wait: '20s' }).then((enqueued) => {
    isIn = true
    return enqueued
  })
  await delay(100)
  expect(isIn).toBe(false)
  const idle = await test.sql`select count(*)::int as open from pg_stat_activity where state like 'idle in transaction%'
      and query like ${`%${test.schema}%`}`
  expect(idle[0]!['open']).toBe(0)
  await drain(name, 1)
  expect(await waiting).toMatchObject({ created: true })
  expect(await depth(queue)).toBe(3)
})

it('wait: at its deadline the call fails with queue.full, at an abort with aborted, and nothing is enqueued', async () => {
  const { queue } = await counted(1)
  await queue.enqueue(1)
  const controller = new AbortController()
  const late = codeOf(queue.enqueue(2, { wait: '150ms' }))
  const aborted = codeOf(queue.enqueue(3, { wait: '1h', signal: controller.signal }))
  const behind = codeOf(queue.enqueue(4, { wait: '100ms' }))
  expect(await Promise.all([late, behind])).toEqual(['queue.full', 'queue.full'])
  controller.abort()
  expect(await aborted).toBe('aborted')
  expect(await codeOf(queue.enqueue(5, { wait: '1h', signal: AbortSignal.abort() }))).toBe('aborted')
  expect(await depth(queue)).toBe(1)
})

it('wait: of all that wait in a process only the first asks, and not more than a few times a second', async () => {
  const { queue, name, sent } = await counted(5)
  await queue.enqueueMany(range(5).map((payload) => ({ payload })))
  await queue.enqueue(0).catch(() => {})
  sent.length = 0
  const waiting = range(500).map((payload) => queue.enqueue(payload, { wait: '60s' }))
  await delay(1500)
  // One of each call that was made before anybody had to wait, in a few statements; then one at a time.
  expect(sent.length).toBeLessThan(30)
  await test.sql`select ${test.sql(test.schema)}.create_queue(${name}, max_depth => 0)`
  const before = sent.length
  await Promise.all(waiting)
  // 1, 2, 4 … at once, and those ride together.
  expect(sent.length - before).toBeLessThan(60)
  expect(await depth(queue)).toBe(505)
})

it('wait: a limit that is taken away wakes those who wait within two seconds', async () => {
  const { queue, name } = await counted(1)
  await queue.enqueue(1)
  const waiting = queue.enqueue(2, { wait: '60s' })
  await delay(1500) // the pauses have grown to their longest
  await test.sql`select ${test.sql(test.schema)}.create_queue(${name}, max_depth => 0)`
  const after = performance.now()
  await waiting
  expect(performance.now() - after).toBeLessThan(20_000)
})

it('wait: those who wait come in one after the other, as there is room', async () => {
  const { queue, name } = await counted(1)
  await queue.enqueue(0)
  let count = 0
  const calls = range(4).map((payload) => queue.enqueue(payload, { wait: '60s' }).then(() => count++))
  for (let i = 1; i <= 4; i++) {
    await drain(name, 1)
    await expect.poll(() => count, { timeout: 20_000 }).toBe(i)
  }
  await Promise.all(calls)
  expect(await depth(queue)).toBe(1)
})

it('wait: an array waits until all of it has room; more than the limit fails at once', async () => {
  const { queue, name } = await counted(4)
  const items = range(4).map((payload): EnqueueItem<number> => ({ payload }))
  await queue.enqueueMany(items)
  let isIn = false
  const waiting = queue.enqueueMany(items, { wait: '60s' }).then(() => {
    isIn = true
  })
  await drain(name, 3)
  await delay(100)
  expect(isIn).toBe(false)
  expect(await depth(queue)).toBe(1)
  await drain(name, 1)
  await waiting
  expect(await depth(queue)).toBe(4)
  expect(await codeOf(queue.enqueueMany([...items, { payload: 5 }], { wait: '60s' }))).toBe('queue.full')
})

it('wait: an async iterable goes in as there is room, in order', async () => {
  const { queue, name } = await counted(700)
  async function* items(): AsyncGenerator<EnqueueItem<number>> {
    for (const payload of range(3000)) yield { payload }
  }
  let isOver = false
  const draining = (async () => {
    while (!isOver) {
      expect(await depth(queue)).toBeLessThanOrEqual(700)
      await drain(name, 400)
      await delay(5)
    }
  })()
  const enqueued = await queue.enqueueMany(items(), { wait: '60s' })
  isOver = true
  await draining
  expect(enqueued).toHaveLength(3000)
  expect(enqueued.map(({ id }) => BigInt(id))).toEqual(
    enqueued.map(({ id }) => BigInt(id)).toSorted((a, b) => Number(a - b)),
  )
})

it('an async iterable without wait commits what has room, and says so', async () => {
  const { queue } = await counted(1500)
  async function* items(): AsyncGenerator<EnqueueItem<number>> {
    for (const payload of range(3000)) yield { payload }
  }
  const error = await queue.enqueueMany(items()).catch((thrown: unknown) => thrown)
  expect(error).toMatchObject({ code: 'enqueue.incomplete', cause: { code: 'queue.full' } })
  expect((error as { details: { committed: unknown[] } }).details.committed).toHaveLength(1500)
  expect(await depth(queue)).toBe(1500)
})

it('coalesced enqueues: as many as have room are let in, the others fail each by itself, in few statements', async () => {
  const { queue, sent } = await counted(40)
  const codes = await Promise.all(range(500).map((payload) => codeOf(queue.enqueue(payload))))
  expect(codes.filter((code) => code === 'none')).toHaveLength(40)
  expect(codes.filter((code) => code === 'queue.full')).toHaveLength(460)
  expect(await depth(queue)).toBe(40)
  expect(sent.length).toBeLessThan(10)
})

it('coalesced enqueues: a payload that is too large for its queue fails alone', async () => {
  const queue = await test.queue<string>({ maxPayloadBytes: 20 })
  const codes = await Promise.all(
    range(50).map((i) => codeOf(queue.enqueue(i === 25 ? 'much more than 20 bytes' : 'little'))),
  )
  expect(codes.filter((code) => code === 'none')).toHaveLength(49)
  expect(codes[25]).toBe('payload.too_large')
})

it('in a transaction nobody waits: the call is refused, before anything is sent', async () => {
  const queue = await test.queue<number>({ maxDepth: 1 })
  await test.sql
    .begin(async (tx) => {
      const inside = test.dueq.in(tx).queue<number>(queue.name)
      expect(await codeOf(inside.enqueue(1, { wait: '1s' }))).toBe('option.invalid')
      expect(await codeOf(inside.enqueueMany([{ payload: 1 }], { wait: '1s' }))).toBe('option.invalid')
      await inside.enqueue(1)
      expect(await codeOf(inside.enqueue(2))).toBe('queue.full')
      throw new Error('roll back')
    })
    .catch(() => {})
  await queue.enqueue(1)
})

it('close sends those away who wait', async () => {
  const { queue, dueq } = await counted(1)
  await queue.enqueue(1)
  const waiting = codeOf(queue.enqueue(2, { wait: '1h' }))
  const behind = codeOf(queue.enqueue(3, { wait: '1h' }))
  await delay(20)
  await dueq.close({ deadline: '1s' })
  expect(await Promise.all([waiting, behind])).toEqual(['client.closed', 'client.closed'])
})

it('ensure stores the limits, null takes the one of the depth away, and consumers tell where the declared ones differ', async () => {
  const limits = async () =>
    (
      await test.sql`select max_depth, max_payload_bytes from ${test.sql(test.schema)}.queue_settings where queue = 'limits'`
    )[0]
  await test.dueq.ensure([defineQueue('limits', { maxDepth: 10, maxPayloadBytes: 500 })])
  expect(await limits()).toEqual({ max_depth: 10, max_payload_bytes: 500 })
  await test.dueq.ensure([defineQueue('limits', {})])
  expect(await limits()).toEqual({ max_depth: 10, max_payload_bytes: 500 })
  const consumer = test.dueq.queue(defineQueue('limits', { maxDepth: null, maxPayloadBytes: 600 })).consume(() => {})
  expect((await test.event('queue.differs')).differences).toEqual([
    { setting: 'maxDepth', declared: null, stored: 10 },
    { setting: 'maxPayloadBytes', declared: 600, stored: 500 },
  ])
  await consumer.stop()
  await test.dueq.ensure([defineQueue('limits', { maxDepth: null })])
  expect(await limits()).toEqual({ max_depth: null, max_payload_bytes: 500 })
  for (const options of [{ maxDepth: 0 }, { maxDepth: 1.5 }, { maxPayloadBytes: 0 }, { maxPayloadBytes: 67_108_865 }])
    expect(() => defineQueue('bad', options)).toThrow(expect.objectContaining({ code: 'option.invalid' }))
})
