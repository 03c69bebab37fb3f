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
  'promise 2: connections whose server has vanished without a word are given up at the deadline, and deliveries go on',
  async () => {
    const leaseMs = 3_000
    const { name: queue } = await client.queue({ lease: leaseMs, pollInterval: '500ms' })
    const { schema, sql } = client
    await using proxy = await startProxy(client.url)
    const connect = { timeout: '1s' } as const
    const producer = client.anotherByUrl({ url: proxy.url, ...connect })
    const consumers = [proxy.url, proxy.url]
    await using load = await startLoad({ sql, schema, queue, leaseMs, producer, rate: 200, consumers, connect })
    await load.listening(2)
    const vanishedAts: number[] = []
    for (const end = Date.now() + loadSeconds * 1000; Date.now() < end; await delay(2_500)) {
      vanishedAts.push(Date.now())
      proxy.vanish()
    }
    await load.goesOn()
    const verdict = await load.finish()
    const claims = await load.claimedAts()
    const pausesMs = claims.slice(1).map((at, index) => at - claims[index]!)
    console.log(`half-open: ${vanishedAts.length} times, longest pause ${Math.max(...pausesMs).toFixed(0)} ms`)
    const timeouts = load.lines(({ event, code }) => event === 'consumer.error' && code === 'timeout')
    expect(timeouts.length).toBeGreaterThan(0)
    expect(verdict.report.unknown).toBeGreaterThan(0)
    expectClean(verdict, 'half-open')
  },
  60_000 + loadSeconds * 1000,
)
