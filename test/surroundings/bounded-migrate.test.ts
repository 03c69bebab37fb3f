import { cp, mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import { afterAll, beforeAll, expect, it } from 'vitest'
import { migrate, migrationStatus } from '../../src/migrate.js'
import { codeOf, startClient, type TestClient } from '../client/client.js'
import { startProxy } from '../faults/proxy.js'
import { startRefusing, startSilent } from '../support/fake-server.js'
import { openSession, type Session } from '../support/sessions.js'

let test: TestClient
let session: Session
let directory: string
beforeAll(async () => {
  test = await startClient()
  session = await openSession(test.url)
  directory = await mkdtemp(join(tmpdir(), 'dueq-migrations-'))
  await cp('migrations', directory, { recursive: true })
  await writeFile(join(directory, '9001_later.sql'), 'alter table messages add column later integer;')
})
afterAll(async () => {
  await session.close()
  await test.close()
  await rm(directory, { recursive: true })
})

/** How long something takes to its end, in ms. */
async function timed(run: () => Promise<unknown>): Promise<number> {
  const start = performance.now()
  await run()
  return performance.now() - start
}

it('migrate and status end by their deadline where the server accepts and says nothing', async () => {
  await using server = await startSilent()
  const codes: string[] = []
  const ms = await timed(async () => {
    codes.push(
      ...(await Promise.all([migrate, migrationStatus].map((run) => codeOf(run({ url: server.url, timeout: '1s' }))))),
    )
  })
  expect(codes).toEqual(['timeout', 'timeout'])
  expect(ms).toBeLessThan(10_000)
})

it('migrate ends by its deadline where the connection falls silent half-way', async () => {
  await using proxy = await startProxy(test.url)
  const options = { url: proxy.url, schema: test.schema, timeout: '1s' } as const
  await session.query('select pg_advisory_lock(hashtextextended($1, 0))', [`dueq:${test.schema}`])
  const waiting = codeOf(migrate(options))
  await delay(300)
  proxy.freeze()
  expect(await waiting).toBe('timeout')
  proxy.thaw()
  await session.query('select pg_advisory_unlock_all()')
  expect(await codeOf(migrate({ ...options, timeout: '20s' }))).toBe('none')
})

it('migrate behind another migration ends by its deadline, and goes through when that is over', async () => {
  await session.query('select pg_advisory_lock(hashtextextended($1, 0))', [`dueq:${test.schema}`])
  expect(await codeOf(migrate({ url: test.url, schema: test.schema, timeout: '1s' }))).toBe('timeout')
  const waiting = migrate({ url: test.url, schema: test.schema })
  await delay(200)
  await session.query('select pg_advisory_unlock_all()')
  expect(await waiting).toEqual({ applied: [], newer: [] })
})

it('a migration that waits for an open transaction stands aside: enqueue and dequeue go on, and it gets through in the end', async () => {
  const queue = await test.queue()
  await queue.enqueue(1)
  await session.begin()
  await session.query(`update ${test.schema}.messages set headers = null`)
  let isOver = false
  const migrating = migrate({ url: test.url, schema: test.schema, directory }).finally(() => (isOver = true))
  const end = performance.now() + 2_500
  while (performance.now() < end) {
    await queue.enqueue(2) // rejects after two seconds behind a lock
    await delay(20)
  }
  expect(isOver).toBe(false)
  await session.commit()
  expect(await migrating).toEqual({ applied: ['9001_later'], newer: [] })
  expect(await queue.dequeue({ max: 1 })).toHaveLength(1)
})

it.each([
  ['57P03', 'the database system is starting up', 'database.unreachable'],
  ['53300', 'sorry, too many clients already', 'database.unreachable'],
  ['28P01', 'password authentication failed', 'database.credentials'],
])('migrate refused with %s (%s) says so at once', async (sqlState, text, code) => {
  await using server = await startRefusing(sqlState, text)
  expect(await codeOf(migrate({ url: server.url }))).toBe(code)
})
