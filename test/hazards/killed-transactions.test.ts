// postgres.js 3.4.9: where a connection is lost under a statement of `sql.begin`, the driver writes its own rollback to no
// socket, which no `try` around anything can catch, or rejects a promise of its own, which nobody has. Where the naive test
// fails the driver is cured: docs/usage.md may then recommend `sql.begin` again, from that version on.
import { setTimeout as delay } from 'node:timers/promises'
import { afterAll, beforeAll, expect, it } from 'vitest'
import { startClient, type TestClient } from '../client/client.js'
import { killAll, startProcess } from '../support/processes.js'

let client: TestClient
beforeAll(async () => {
  client = await startClient()
  await client.sql`create table ${client.sql(client.schema)}.own_writes (message bigint)`
})
afterAll(async () => {
  killAll()
  await client.close()
})

const messageCount = 500

/** Starts the handlers on a full queue, and kills so many of their connections, or until they end or are done. */
async function run(driver: 'pg' | 'postgres', killCount: number) {
  const queue = await client.queue({ lease: '5s', maxAttempts: 1000, backoff: { base: '10ms', max: '50ms' } })
  const messages = await queue.enqueueMany(Array.from({ length: messageCount }, (_, payload) => ({ payload })))
  const handlers = startProcess('test/hazards/fixtures/transactions.mjs', [], {
    DUEQ_URL: client.url,
    DUEQ_TEST_SCHEMA: client.schema,
    DUEQ_QUEUE: queue.name,
    DRIVER: driver,
  })
  await handlers.waitForLine((line) => line === 'started')
  let hasEnded = false
  void handlers.exited.then(() => {
    hasEnded = true
  })
  let killedCount = 0
  for (const end = Date.now() + 10_000; killedCount < killCount && Date.now() < end && !hasEnded; await delay(20)) {
    const killed = await client.sql`
      select pg_terminate_backend(pid) from pg_stat_activity
       where application_name = 'handlers' and state in ('active', 'idle in transaction')
       order by random() limit 1`
    killedCount += killed.length
  }
  return { queue, messages, handlers, killedCount }
}

it('naive: with sql.begin a lost connection ends the process', { timeout: 60_000 }, async () => {
  const { handlers, killedCount } = await run('postgres', 200)
  expect(await handlers.exited).toMatchObject({ code: 1 })
  // Most often the one, now and then the other: an error of the driver's own that reaches nobody.
  expect(handlers.stderr).toMatch(/Cannot read properties of null \(reading 'write'\)|triggerUncaughtException/)
  expect(killedCount).toBeGreaterThan(0)
})

it('promise 4: with pg, whatever connections are lost, each message is written exactly once', {
  timeout: 60_000,
}, async () => {
  const { queue, messages, handlers, killedCount } = await run('pg', 15)
  await expect
    .poll(() => queue.stats(), { timeout: 40_000 })
    .toMatchObject({ ready: 0, delayed: 0, leased: 0, lapsed: 0, dead: 0 })
  handlers.send('drain')
  expect(await handlers.waitForLine<{ stillRunning?: number }>((line) => line.stillRunning !== undefined)).toEqual({
    stillRunning: 0,
  })
  const table = client.sql(client.schema)
  const ids = messages.map(({ id }) => id)
  const written = await client.sql`select message from ${table}.own_writes where message = any(${ids}::bigint[])`
  expect(killedCount).toBeGreaterThan(2)
  expect(written.map((row) => row['message']).sort()).toEqual(ids.sort())
})
