import { afterAll, beforeAll, expect, it } from 'vitest'
import type { QueryFunction } from '../../src/index.js'
import { startClient, type TestClient } from './client.js'

let test: TestClient
beforeAll(async () => {
  test = await startClient()
})
afterAll(() => test.close())

/** Runs statements; the answer to the enqueues from the n-th on is lost. */
function losing(from: number, error: object): { readonly query: QueryFunction; readonly sentCount: () => number } {
  let count = 0
  const query: QueryFunction = async (text, params) => {
    const rows = await test.sql.unsafe(text, params as never[]).values()
    if (/enqueue(_many(_plain)?)?\(/.test(text) && ++count >= from) throw Object.assign(new Error('lost'), error)
    return rows
  }
  return { query, sentCount: () => count }
}

it('an enqueue is not sent again where its answer is lost, whatever state a pooler makes of that', async () => {
  const { name, stats } = await test.queue()
  const { query, sentCount } = losing(1, { code: 'XX000', severity: 'FATAL', message: 'DbHandler exited' })
  const enqueueing = test.another({ query }).queue(name).enqueue({})
  await expect(enqueueing).rejects.toMatchObject({ code: 'database.unreachable', isOutcomeUnknown: true })
  expect(sentCount()).toBe(1)
  expect(await stats()).toMatchObject({ ready: 1 })
})

it('an async iterable whose chunk may have been enqueued says so, and not to go on after it', async () => {
  const { name, stats } = await test.queue()
  const queue = test.another({ query: losing(2, { code: 'ECONNRESET' }).query }).queue(name)
  async function* source() {
    for (let payload = 0; payload < 1500; payload++) yield { payload }
  }
  const error = await queue.enqueueMany(source()).catch((thrown) => thrown)
  expect(error).toMatchObject({ code: 'enqueue.incomplete', isOutcomeUnknown: true })
  expect(error.details.committed).toHaveLength(1000)
  expect(error.message).toContain('The next 500 may be enqueued as well')
  expect(await stats()).toMatchObject({ ready: 1500 })
})

it('rows that come too late and cannot be read end nothing', async () => {
  const { name } = await test.queue()
  let isSlow = false
  let lateCount = 0
  const query: QueryFunction = async (text, params) => {
    if (!isSlow) return test.sql.unsafe(text, params as never[]).values()
    await new Promise((resolve) => setTimeout(resolve, 300))
    lateCount++
    return []
  }
  const queue = test.another({ query, timeout: '100ms' }).queue(name)
  await queue.stats()
  isSlow = true
  await expect(queue.dequeue()).rejects.toMatchObject({ code: 'timeout' })
  await expect.poll(() => lateCount).toBe(1)
  await new Promise((resolve) => setImmediate(resolve)) // an unhandled rejection fails the run
})
