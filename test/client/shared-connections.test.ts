import pg from 'pg'
import postgres from 'postgres'
import { afterAll, beforeAll, expect, it } from 'vitest'
import { killAll, startProcess } from '../support/processes.js'
import { startClient, type TestClient } from './client.js'

let test: TestClient
beforeAll(async () => {
  test = await startClient()
})
afterAll(async () => {
  killAll()
  await test.close()
})

it('a shared postgres.js instance is never ended', async () => {
  const sql = postgres(test.url, { max: 2, onnotice: () => {} })
  const dueq = test.another({ sql })
  await dueq.check()
  await dueq.close()
  expect((await sql`select 1 as one`)[0]).toEqual({ one: 1 })
  await sql.end()
})

it('a shared pg pool is never ended', async () => {
  const pool = new pg.Pool({ connectionString: test.url, max: 2 })
  const dueq = test.another({ pool })
  await dueq.check()
  await dueq.close()
  expect((await pool.query('select 1 as one')).rows).toEqual([{ one: 1 }])
  await pool.end()
})

it.each([
  ['null becomes undefined', { value: { from: (value: unknown) => value ?? undefined } }],
  ['rows become objects', { row: { from: (row: object) => ({ ...row }) } }],
  ['names become camel case', postgres.camel],
])('a shared postgres.js instance may transform what it reads: %s', async (_, transform) => {
  const sql = postgres(test.url, { max: 2, onnotice: () => {}, transform: transform as never })
  const { name } = await test.queue()
  const queue = test.another({ sql }).queue(name)
  expect(await queue.dequeue()).toEqual([])
  const { id } = await queue.enqueue({ a: null })
  expect(await queue.stats()).toMatchObject({ ready: 1, pausedAt: null })
  const [message] = await queue.dequeue()
  expect(message).toMatchObject({ id, payload: { a: null }, headers: {} })
  await sql.begin((tx) => message!.in(tx).ack())
  await sql.end()
})

it('close ends the connections that dueq opened, the listening one included', async () => {
  const queue = await test.queue({ pollInterval: '1h' })
  const url = `${test.url}${test.url.includes('?') ? '&' : '?'}application_name=${test.schema}`
  const dueq = test.anotherByUrl({ url, name: 'closing' })
  const waiting = dueq.queue(queue.name).dequeue({ wait: '20s' })
  await expect.poll(() => dueq.check()).toMatchObject({ isListening: true })
  expect((await sessionPids()).length).toBeGreaterThanOrEqual(2)
  await dueq.close()
  expect(await waiting).toEqual([])
  await expect.poll(sessionPids).toEqual([])
})

it.each(['url', 'sql', 'query'])('after close nothing of dueq keeps the process alive (%s)', async (how) => {
  const queue = await test.queue()
  const child = startProcess('test/client/fixtures/close-and-exit.mjs', [how, queue.name], {
    TEST_URL: test.url,
    TEST_SCHEMA: test.schema,
  })
  await child.waitForLine((line) => line === 'closed')
  const closedAt = performance.now()
  expect(await child.exited).toEqual({ code: 0, signal: null })
  expect(performance.now() - closedAt).toBeLessThan(2_500)
})

async function sessionPids(): Promise<readonly number[]> {
  const rows = await test.sql`select pid from pg_stat_activity where application_name = ${test.schema}`
  return rows.map((row) => row['pid'] as number)
}
