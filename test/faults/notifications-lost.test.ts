import { setTimeout as delay } from 'node:timers/promises'
import postgres from 'postgres'
import { afterAll, beforeAll, expect, it } from 'vitest'
import type { Verdict } from '../../src/cli/verdict.js'
import { connect, defineQueue } from '../../src/index.js'
import { migrate } from '../../src/migrate.js'
import { startClient, type TestClient } from '../client/client.js'
import { startOwnServer } from '../support/own-server.js'
import { expectClean, loadSeconds, startLoad } from './load.js'
import { startProxy } from './proxy.js'

let client: TestClient
beforeAll(async () => {
  client = await startClient()
})
afterAll(() => client.close())

const leaseMs = 2_000
const pollMs = 1_000
/** What a busy machine may add to a poll. */
const slackMs = 1_000

function expectPolled(verdict: Verdict, title: string): void {
  const { max } = verdict.lateness.summary()
  console.log(`${title}: late by at most ${max.toFixed(0)} ms, with a poll interval of ${pollMs} ms`)
  expect(max).toBeLessThan(pollMs + slackMs)
  expectClean(verdict, title)
}

it(
  'promise 6: with every notification lost on the way, the delay is bounded by the poll interval',
  async () => {
    const { name: queue } = await client.queue({ lease: leaseMs, pollInterval: pollMs })
    const { sql, schema } = client
    await using proxy = await startProxy(client.url)
    const producer = client.anotherByUrl({ url: client.url })
    const consumers = [proxy.url, proxy.url]
    await using load = await startLoad({ sql, schema, queue, leaseMs, producer, rate: 10, consumers })
    await load.listening(2)
    proxy.freeze({ application: 'dueq listen', way: 'toClient' })
    await delay(loadSeconds * 1000)
    expectPolled(await load.finish(), 'notifications lost')
  },
  60_000 + loadSeconds * 1000,
)

it(
  'promise 6: with the notification queue of the server full, enqueues commit, and the delay is bounded by the poll interval',
  async (test) => {
    // Before 17 the queue of notifications is 8 GB, which is too much to fill.
    await using server = await startOwnServer(test, { since: 17, settings: { max_notify_queue_pages: '64' } })
    const { url } = server
    await migrate({ url })
    const sql = postgres(url, { max: 1, onnotice: () => {} })
    const listener = postgres(url, { max: 1, onnotice: () => {} })
    try {
      await using producer = connect(url, { onEvent: () => {} })
      const queue = defineQueue('full', { lease: leaseMs, pollInterval: pollMs })
      await producer.ensure([queue])
      const options = { sql, schema: 'dueq', queue: queue.name, leaseMs, producer, rate: 10 }
      await using load = await startLoad({ ...options, consumers: [url] })
      // Whoever listens and stays in a transaction keeps all notifications from being removed.
      await listener`listen anything`
      await listener`begin`
      await listener`select 1`
      let isFull = false
      while (!isFull)
        await sql`select pg_notify('anything', repeat('x', 7000))`.catch((error: Error) => {
          expect(error.message).toMatch(/NOTIFY queue/)
          isFull = true
        })
      await delay(loadSeconds * 1000)
      const verdict = await load.finish()
      expect(verdict.report.unknown).toBe(0)
      expectPolled(verdict, 'notification queue full')
    } finally {
      await listener.end({ timeout: 0 })
      await sql.end({ timeout: 1 })
    }
  },
  60_000 + loadSeconds * 1000,
)
