import { afterAll, beforeAll, expect, it } from 'vitest'
import { codeOf, itListens, startClient, type TestClient } from './client.js'

let test: TestClient
beforeAll(async () => {
  test = await startClient()
})
afterAll(() => test.close())

const timed = async <T>(promise: Promise<T>): Promise<{ readonly result: T; readonly tookMs: number }> => {
  const start = performance.now()
  const result = await promise
  return { result, tookMs: performance.now() - start }
}
const pause = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms))

itListens('a waiting dequeue is woken by an enqueue of another client, not by the poll interval', async () => {
  const queue = await test.queue<string>({ pollInterval: '1h' })
  const waiting = timed(queue.dequeue({ wait: '15s' }))
  await test.event('listen.up')
  await test.another().queue<string>(queue.name).enqueue('woken')
  const { result, tookMs } = await waiting
  expect(result.map(({ payload }) => payload)).toEqual(['woken'])
  expect(tookMs).toBeLessThan(5_000)
})

it('promise 1: a waiting dequeue gives a delayed message when it is due, not before', async () => {
  const queue = await test.queue<string>({ pollInterval: '1h' })
  await queue.enqueue('due', { delay: '400ms' })
  const { result, tookMs } = await timed(queue.dequeue({ wait: '10s' }))
  expect(tookMs).toBeGreaterThan(300)
  expect(tookMs).toBeLessThan(3_000)
  expect(result[0]!.latenessMs).toBeGreaterThanOrEqual(0)
})

it('promise 6: without notifications a waiting dequeue finds a message within the poll interval', async () => {
  const queue = await test.queue<string>({ pollInterval: '200ms' })
  const deaf = test.another({ listen: false })
  const waiting = timed(deaf.queue<string>(queue.name).dequeue({ wait: '10s' }))
  await pause(100)
  await queue.enqueue('found')
  const { result, tookMs } = await waiting
  expect(result).toHaveLength(1)
  expect(tookMs).toBeLessThan(3_000)
})

it('promise 6: a client on a query function cannot listen, and polls', async () => {
  const queue = await test.queue<string>({ pollInterval: '200ms' })
  const polling = test.another({ query: (text, params) => test.sql.unsafe(text, params).values() })
  const waiting = polling.queue<string>(queue.name).dequeue({ wait: '10s' })
  await pause(100)
  await queue.enqueue('found')
  expect(await waiting).toHaveLength(1)
})

it('a wait ends at its deadline with nothing', async () => {
  const queue = await test.queue({ pollInterval: '1h' })
  const { result, tookMs } = await timed(queue.dequeue({ wait: '300ms' }))
  expect(result).toEqual([])
  expect(tookMs).toBeGreaterThanOrEqual(295)
  expect(tookMs).toBeLessThan(5_000)
})

it('an aborted signal ends the wait at once with code aborted, and its reason as the cause', async () => {
  const queue = await test.queue({ pollInterval: '1h' })
  const controller = new AbortController()
  const waiting = queue.dequeue({ wait: '1d', signal: controller.signal })
  const expected = expect(waiting).rejects.toMatchObject({ code: 'aborted', cause: 'enough' })
  await pause(50)
  controller.abort('enough')
  await expected
  await queue.enqueue('untouched')
  expect(await codeOf(queue.dequeue({ signal: AbortSignal.abort() }))).toBe('aborted')
  expect(await queue.stats()).toMatchObject({ ready: 1, leased: 0 })
})

it('close ends the wait with nothing', async () => {
  const queue = await test.queue({ pollInterval: '1h' })
  const dueq = test.another()
  const waiting = timed(dueq.queue(queue.name).dequeue({ wait: '1d' }))
  await pause(150)
  await dueq.close()
  const { result, tookMs } = await waiting
  expect(result).toEqual([])
  expect(tookMs).toBeLessThan(5_000)
})

it('many waiting dequeues share one message for one of them', async () => {
  const queue = await test.queue<number>({ pollInterval: '1h' })
  const waiting = Array.from({ length: 5 }, () => queue.dequeue({ wait: '600ms' }))
  await pause(100)
  await queue.enqueue(1)
  const counts = (await Promise.all(waiting)).map((messages) => messages.length)
  expect(counts.reduce((a, b) => a + b)).toBe(1)
})
