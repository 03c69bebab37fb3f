// A stream of commits sends few notifications, and consumers hear of every message all the same. The poll interval is an hour,
// so that what is delivered was told of.
import { setTimeout as delay } from 'node:timers/promises'
import { afterAll, beforeAll, expect, it } from 'vitest'
import type { ConnectOptions, QueryFunction } from '../../src/index.js'
import { itListens, startClient, type TestClient } from './client.js'

let test: TestClient
beforeAll(async () => {
  test = await startClient()
})
afterAll(() => test.close())

type Sent = { readonly kind: 'waking' | 'silent' | 'wake'; readonly sentAt: number; answeredAt: number }

/** A producer whose statements are recorded. `failing` says of a statement whether it fails, before or after it took effect. */
async function recorded(
  options: ConnectOptions = {},
  failing: (sent: Sent, count: number) => 'before' | 'after' | undefined = () => undefined,
) {
  const { name } = await test.queue({ pollInterval: '1h' })
  const sent: Sent[] = []
  const query: QueryFunction = async (text, params) => {
    const run = (): Promise<readonly unknown[]> => test.sql.unsafe(text, params as never[]).values()
    const isWake = /\.wake\(/.test(text)
    if (!isWake && !text.includes('enqueue')) return run()
    const isSilent = /wake => false/.test(text) || (text.includes('wake =>') && params.at(-1) === 'false')
    const statement: Sent = {
      kind: isWake ? 'wake' : isSilent ? 'silent' : 'waking',
      sentAt: performance.now(),
      answeredAt: Number.POSITIVE_INFINITY,
    }
    sent.push(statement)
    const fails = failing(statement, sent.length)
    if (fails === 'before') throw Object.assign(new Error('no space left'), { code: '53100' })
    const rows = await run()
    statement.answeredAt = performance.now()
    if (fails === 'after') throw Object.assign(new Error('read ECONNRESET'), { code: 'ECONNRESET' })
    return rows
  }
  const dueq = test.another({ query, listen: false, coalesce: false, ...options })
  return { dueq, queue: dueq.queue<unknown>(name), name, sent }
}

/** Whether everything that was sent in silence was told of by a statement that was sent after its answer. */
function areAllTold(sent: readonly Sent[]): boolean {
  const lastAnswer = Math.max(...sent.filter(({ kind }) => kind === 'silent').map(({ answeredAt }) => answeredAt))
  return sent.some(({ kind, sentAt, answeredAt }) => kind !== 'silent' && sentAt >= lastAnswer && answeredAt < Infinity)
}

const range = (count: number): readonly number[] => Array.from({ length: count }, (_, i) => i)

it('a lone message, and a few after a pause, notify each', async () => {
  const { queue, sent } = await recorded()
  for (const i of range(3)) await queue.enqueue(i)
  expect(sent.map(({ kind }) => kind)).toEqual(['waking', 'waking', 'waking'])
})

it.each([true, false])('of a stream few notify, and the last is told of (coalesce: %s)', async (coalesce) => {
  const { queue, sent } = await recorded({ coalesce })
  const start = performance.now()
  await Promise.all(
    range(8).map(async () => {
      for (const i of range(50)) await queue.enqueue(i)
    }),
  )
  const told = sent.filter(({ kind }) => kind !== 'silent').length
  expect(told).toBeLessThanOrEqual(4 + (performance.now() - start) / 3)
  expect(sent.length - told).toBeGreaterThan(0)
  await expect.poll(() => areAllTold(sent)).toBe(true)
  const count = sent.length
  await delay(30)
  expect(sent).toHaveLength(count)
})

itListens('promise 6: a consumer that sleeps hears of every message of a stream', async () => {
  const { queue, name, sent } = await recorded()
  const handled = new Set<unknown>()
  await using consumer = test
    .another()
    .queue(name)
    .consume(({ payload }) => void handled.add(payload))
  await expect.poll(() => consumer.status.lastClaimAt).not.toBeNull()
  for (let round = 0; round < 5; round++) {
    await Promise.all(range(60).map((i) => queue.enqueue(round * 60 + i)))
    await expect.poll(() => handled.size).toBe((round + 1) * 60)
  }
  expect(sent.some(({ kind }) => kind === 'silent')).toBe(true)
})

it('promise 6: what was held back is told of again where the statement that should have told failed', async () => {
  let failureCount = 0
  const { queue, sent } = await recorded({}, ({ kind }) =>
    kind === 'wake' && failureCount++ < 2 ? 'before' : undefined,
  )
  await Promise.all(range(40).map((i) => queue.enqueue(i)))
  await expect.poll(() => areAllTold(sent)).toBe(true)
  expect(failureCount).toBe(3)
})

it('a message of unknown outcome is told of like any other', async () => {
  const { queue, sent } = await recorded({}, ({ kind }) => (kind === 'silent' ? 'after' : undefined))
  await Promise.allSettled(range(40).map((i) => queue.enqueue(i)))
  await expect.poll(() => areAllTold(sent)).toBe(true)
})

it('a message that was there already speaks for nobody', async () => {
  const { queue, sent } = await recorded()
  await queue.enqueue('there', { dedupKey: 'k' })
  const repeated = new Set<Sent>()
  let isHeld = false
  for (let round = 0; round < 20 && !isHeld; round++) {
    await Promise.all(range(40).map((i) => queue.enqueue(i)))
    isHeld = !areAllTold(sent)
    const end = performance.now() + 60 // for a token, which the next statement takes before the timer can
    while (performance.now() < end);
    const index = sent.length
    await queue.enqueue('again', { dedupKey: 'k' })
    repeated.add(sent[index]!)
    isHeld &&= sent[index]!.kind === 'waking' // or a statement that tells is under way
  }
  expect(isHeld).toBe(true)
  await expect.poll(() => areAllTold(sent.filter((one) => !repeated.has(one)))).toBe(true)
})

it('promise 6: close tells of what is held back', async () => {
  const { dueq, queue, sent } = await recorded()
  await Promise.all(range(40).map((i) => queue.enqueue(i)))
  await dueq.close()
  expect(areAllTold(sent)).toBe(true)
})

it('of a stream of delayed messages fewer still notify', async () => {
  const { queue, sent } = await recorded()
  const start = performance.now()
  for (const i of range(300)) await queue.enqueue(i, { delay: 60_000 - i })
  await expect.poll(() => areAllTold(sent)).toBe(true)
  const told = sent.filter(({ kind }) => kind !== 'silent').length
  expect(told).toBeLessThanOrEqual(3 + (performance.now() - start) / 50)
})

itListens('promise 6: a consumer that sleeps hears of the earliest of what was held back', async () => {
  const { queue, name, sent } = await recorded()
  const handled: unknown[] = []
  await using consumer = test
    .another()
    .queue(name)
    .consume(({ payload }) => void handled.push(payload))
  await expect.poll(() => consumer.status.lastClaimAt).not.toBeNull()
  for (const delay of [3_500_000, 2_000, 1_000, 3_000]) await queue.enqueue(delay, { delay })
  await expect.poll(() => handled, { timeout: 10_000 }).toEqual([1_000, 2_000, 3_000])
  expect(sent.map(({ kind }) => kind)).toContain('wake')
})

it('messages that are due at an instant or in hours, and those in a transaction, are left to the database', async () => {
  const { dueq, queue, name, sent } = await recorded()
  await Promise.all(range(40).map((i) => queue.enqueue(i, { delay: '1h' })))
  await Promise.all(range(40).map((i) => queue.enqueue(i, { at: new Date() })))
  const texts: string[] = []
  const inside = dueq.in((text, params) => {
    texts.push(text)
    return test.sql.unsafe(text, params as never[]).values()
  })
  await Promise.all(range(40).map((i) => inside.queue(name).enqueue(i)))
  expect(sent.every(({ kind }) => kind === 'waking')).toBe(true)
  expect(texts.every((text) => !text.includes('wake'))).toBe(true)
})
