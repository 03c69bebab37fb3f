import { afterAll, beforeAll, expect, it } from 'vitest'
import { startClient, type TestClient } from '../client/client.js'
import { expectClean, type LoadLine, startLoad } from './load.js'

let client: TestClient
beforeAll(async () => {
  client = await startClient()
})
afterAll(() => client.close())

it('promise 3: a process blocked for three leases settles nothing that it held, knows it at once, and another handles it', async () => {
  const leaseMs = 1_000
  const { name: queue } = await client.queue({ lease: leaseMs, pollInterval: '200ms' })
  const { url, schema, sql } = client
  await using load = await startLoad({
    sql,
    schema,
    queue,
    leaseMs,
    producer: client.anotherByUrl({ url }),
    rate: 0,
    consumers: [url],
  })
  const [blocked] = load.consumers
  // Handlers that wait on timers of their own; these run out while the process is blocked, or soon after.
  const waiting = Array.from({ length: 8 }, (_, index) =>
    load.enqueue({ workMs: 1_500 + index * 250, isFailing: false }),
  )
  const others = await Promise.all(waiting)
  await expect.poll(() => load.claimedAts()).toHaveLength(others.length)
  const id = await load.enqueue({ blockMs: 3 * leaseMs, workMs: 0, isFailing: false })
  await blocked!.waitForLine<LoadLine>(({ blocking }) => blocking === id)
  await load.start(url)
  const { isAborted } = await blocked!.waitForLine<LoadLine>((line) => line.blocked === id)
  expect(isAborted).toBe(true)
  const verdict = await load.finish()
  const lost = load.lines(({ event }) => event === 'lease.lost').map((line) => line.id)
  const aborted = load.lines((line) => line.aborted !== undefined).map((line) => line.aborted)
  expect(new Set(lost)).toEqual(new Set([...others, id]))
  expect(new Set(aborted)).toEqual(new Set(lost))
  expect(verdict.report).toMatchObject({ acked: 9, claims: 18, duplicates: 9 })
  expectClean(verdict, 'blocked loop')
})
