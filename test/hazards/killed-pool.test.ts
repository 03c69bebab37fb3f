// postgres.js 3.4.9: a statement handed to a connection in the very turn in which that is closing is never written, and nothing is
// written to that connection any more: each of its reconnects ends in CONNECT_TIMEOUT. Whoever tries again at once after an
// error meets it, when a server drops all its connections. Where the naive test fails the driver is cured: then connections
// of dueq's pool need not be cut off after a loss (src/pool.ts).
import { setTimeout as delay } from 'node:timers/promises'
import postgres from 'postgres'
import { afterAll, beforeAll, expect, it } from 'vitest'
import { startClient, type TestClient } from '../client/client.js'

let client: TestClient
beforeAll(async () => {
  client = await startClient()
})
afterAll(() => client.close())

const hangMs = 3_000

/**
 * Callers who ask, and ask again at once, while all their connections are killed again and again for so long. True where one
 * of them is left without answer or error.
 */
async function hangs(applicationName: string, ask: () => Promise<unknown>, killMs: number): Promise<boolean> {
  let isOver = false
  const askedAt: number[] = []
  const callers = Array.from({ length: 8 }, async (_, caller) => {
    while (!isOver) {
      askedAt[caller] = performance.now()
      await ask().catch(() => {})
    }
    askedAt[caller] = Number.POSITIVE_INFINITY
  })
  const isHanging = (): boolean => performance.now() - Math.min(...askedAt) > hangMs
  for (const end = performance.now() + killMs; performance.now() < end && !isHanging(); await delay(40)) {
    await client.sql`select pg_terminate_backend(pid) from pg_stat_activity where application_name = ${applicationName}`
  }
  isOver = true
  await Promise.race([Promise.all(callers), delay(hangMs)])
  return isHanging()
}

it('naive: a pool whose connections are killed again and again hangs', async () => {
  const sql = postgres(client.url, {
    max: 4,
    fetch_types: false,
    connect_timeout: 10,
    backoff: () => 0.02,
    connection: { application_name: client.schema },
    onnotice: () => {},
  })
  const ask = () => sql.unsafe('select $1::text', ['x'], { prepare: true })
  expect(await hangs(client.schema, ask, 12_000)).toBe(true)
  await sql.end({ timeout: 0 })
})

it('the pool of dueq gives answers again as soon as the server does', async () => {
  const url = new URL(client.url)
  url.searchParams.set('application_name', `${client.schema}_dueq`)
  const dueq = client.anotherByUrl({ url: url.href, max: 4 })
  expect(await hangs(`${client.schema}_dueq`, () => dueq.check(), 3_000)).toBe(false)
})
