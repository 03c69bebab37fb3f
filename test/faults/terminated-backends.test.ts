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
  'promise 2: with all connections terminated every 100 ms nothing is lost, nothing throws, and processes end when told',
  async () => {
    const leaseMs = 2_000
    const { name: queue } = await client.queue({ lease: leaseMs, pollInterval: '500ms' })
    const { url, schema, sql } = client
    const producer = client.anotherByUrl({ url })
    await using load = await startLoad({ sql, schema, queue, leaseMs, producer, rate: 300, consumers: [url, url] })
    await load.listening(2)
    let terminatedCount = 0
    for (const end = Date.now() + loadSeconds * 1000; Date.now() < end; await delay(100)) {
      const rows = await sql`
        select pg_terminate_backend(pid) from pg_stat_activity
         where query like ${`%${schema}%`} and application_name like 'dueq%'`
      terminatedCount += rows.length
    }
    await load.goesOn()
    const verdict = await load.finish()
    console.log(`terminated ${terminatedCount} backends`)
    expect(terminatedCount).toBeGreaterThan(10)
    expectClean(verdict, 'terminated backends')
  },
  60_000 + loadSeconds * 1000,
)
