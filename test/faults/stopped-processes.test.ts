import { setTimeout as delay } from 'node:timers/promises'
import { afterAll, beforeAll, expect, it } from 'vitest'
import { startClient, type TestClient } from '../client/client.js'
import { expectClean, loadSeconds, startLoad } from './load.js'

let client: TestClient
beforeAll(async () => {
  client = await startClient()
})
afterAll(() => client.close())

it(
  'promise 3: processes stopped beyond their leases under load settle nothing that others have, and go on',
  async () => {
    const leaseMs = 1_000
    const { name: queue } = await client.queue({ lease: leaseMs, pollInterval: '500ms' })
    const { url, schema, sql } = client
    const consumers = [url, url, url]
    const producer = client.anotherByUrl({ url })
    await using load = await startLoad({ sql, schema, queue, leaseMs, producer, rate: 150, consumers })
    const until = Date.now() + loadSeconds * 1000
    const lostCount = (): number => load.lines(({ event }) => event === 'lease.lost').length
    // Until one was caught with messages in hand: which process is given them is chance.
    for (let round = 0; round < 2 || Date.now() < until || (lostCount() === 0 && round < 15); round++) {
      const { pid } = load.consumers[round % consumers.length]!
      await delay(300)
      await Promise.all(Array.from({ length: 5 }, () => load.enqueue({ workMs: 800, isFailing: false })))
      await delay(100)
      process.kill(pid, 'SIGSTOP')
      await delay(1.7 * leaseMs)
      process.kill(pid, 'SIGCONT')
    }
    const verdict = await load.finish()
    console.log(`stopped processes: ${lostCount()} leases lost`)
    expect(lostCount()).toBeGreaterThan(0)
    expectClean(verdict, 'stopped processes')
  },
  60_000 + loadSeconds * 1000,
)
