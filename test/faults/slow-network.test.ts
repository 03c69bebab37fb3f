import { setTimeout as delay } from 'node:timers/promises'
import { afterAll, beforeAll, expect, it } from 'vitest'
import { startClient, type TestClient } from '../client/client.js'
import { expectClean, loadSeconds, startLoad } from './load.js'
import { startProxy } from './proxy.js'

let client: TestClient
beforeAll(async () => {
  client = await startClient()
})
afterAll(() => client.close())

it(
  'with 50 ms each way to the database a load of 60 messages/s goes through, and no lease is lost',
  async () => {
    const leaseMs = 5_000
    const { name: queue } = await client.queue({ lease: leaseMs, pollInterval: '500ms' })
    const { schema, sql } = client
    await using proxy = await startProxy(client.url)
    proxy.slow(50)
    const producer = client.anotherByUrl({ url: proxy.url, max: 10 })
    const consumers = [proxy.url, proxy.url]
    await using load = await startLoad({ sql, schema, queue, leaseMs, producer, rate: 60, consumers })
    await load.enqueue({ workMs: 1.2 * leaseMs }) // its lease is kept over the slow network
    await delay(loadSeconds * 1000)
    const verdict = await load.finish()
    const { p50, p99 } = verdict.lateness.summary()
    console.log(`slow network: lateness p50 ${p50.toFixed(0)} ms, p99 ${p99.toFixed(0)} ms`)
    expect(load.lines(({ event }) => event === 'lease.lost' || event === 'consumer.error')).toEqual([])
    expect(verdict.report.unknown).toBe(0)
    expectClean(verdict, 'slow network')
  },
  60_000 + loadSeconds * 1000,
)
