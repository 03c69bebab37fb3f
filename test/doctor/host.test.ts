// What the doctor sees from the host of a client: versions, clocks, notifications, prepared statements.
import postgres from 'postgres'
import { afterAll, afterEach, beforeAll, expect, it, vi } from 'vitest'
import type { Check, ConnectOptions, Dueq } from '../../src/index.js'
import { dueqOn } from '../cli/dueq.js'
import { codeOf, startClient, type TestClient } from '../client/client.js'
import { findPgBouncer, missingPgBouncer, startPgBouncer } from '../support/pgbouncer.js'

let test: TestClient
/** A client without a pooler in between, in every variant of the run. */
const direct = (options: ConnectOptions = {}): Dueq =>
  test.anotherByUrl({ url: test.url, listenUrl: test.url, prepare: true, ...options })
let dueq: Dueq
beforeAll(async () => {
  test = await startClient()
  dueq = direct()
})
afterEach(() => vi.unstubAllEnvs())
afterAll(() => test.close())

async function check(name: string, client: Dueq = dueq): Promise<Check> {
  const found = (await client.doctor()).find((row) => row.check === name)
  if (!found) throw new Error(`The doctor has no check "${name}"`)
  return found
}

/** Runs something while schema_version() says so, as after a migration by an older or newer dueq. */
async function atVersion<T>(version: number, run: () => Promise<T>): Promise<T> {
  const { schemaVersion } = await test.dueq.check()
  const become = (to: number) =>
    test.sql.unsafe(
      `create or replace function ${test.schema}.schema_version() returns integer language sql immutable as 'select ${to}'`,
    )
  await become(version)
  try {
    return await run()
  } finally {
    await become(schemaVersion)
  }
}

it.each([
  ['older', 100, /npx dueq migrate/],
  ['newer', 200, /Upgrade the dueq package/],
])('a schema that is %s is a check that fails, beside all others', async (name, version, advice) => {
  expect(await check('schema version')).toMatchObject({ ok: true, advice: null })
  const checks = await atVersion(version, () => direct().doctor())
  expect(checks.find((row) => row.check === 'schema version')).toEqual({
    check: 'schema version',
    ok: false,
    detail: `version ${version} does not fit this client (schema.${name})`,
    advice: expect.stringMatching(advice),
  })
  expect(checks.map((row) => row.check)).toEqual((await dueq.doctor()).map((row) => row.check))
})

it('`dueq doctor` reports on an older schema, with the advice, and exits with 1', async () => {
  await atVersion(100, async () => {
    const { code, stdout } = await dueqOn(test)('doctor', '--url', test.url, '--listen-url', test.url)
    expect(code).toBe(1)
    expect(stdout).toMatch(/FAILS +schema version +version 100 does not fit this client \(schema\.older\)/)
    expect(stdout).toMatch(/ok +listen +notifications arrive/)
    expect(stdout).toMatch(/ok +indexes /)
    expect(stdout).toMatch(/\nschema version: .*npx dueq migrate/)
  })
})

it('a schema of a time before doctor(): the checks of the host are still made', async () => {
  await test.sql.unsafe(`alter function ${test.schema}.doctor() rename to doctor_of_later`)
  const checks = await dueq.doctor()
  await test.sql.unsafe(`alter function ${test.schema}.doctor_of_later() rename to doctor`)
  expect(checks.find((row) => row.check === 'database')).toMatchObject({
    ok: false,
    detail: expect.stringContaining('doctor() does not exist'),
  })
  expect(checks.find((row) => row.check === 'listen')).toMatchObject({ ok: true })
})

it('without dueq in the schema, or without a server, there is no report but an error', async () => {
  expect(await codeOf(direct({ schema: 'nothing_here' }).doctor())).toBe('schema.missing')
  const nowhere = direct({ url: 'postgres://u:p@127.0.0.1:1/d' })
  expect(await codeOf(nowhere.doctor())).toBe('database.unreachable')
})

it('a clock of the host that is an hour off', async () => {
  expect(await check('clock skew')).toMatchObject({
    ok: true,
    detail: expect.stringMatching(/ (ahead of|behind) this/),
  })
  const now = Date.now.bind(Date)
  vi.spyOn(Date, 'now').mockImplementation(() => now() + 3_600_000)
  const skewed = await check('clock skew').finally(() => vi.restoreAllMocks())
  expect(skewed).toMatchObject({
    ok: false,
    detail: expect.stringMatching(/^the database is (60 min|1 h) behind this host/),
    advice: expect.stringContaining('Synchronise'),
  })
})

it('a listenUrl that refuses to connect: the reason, and no advice about poolers', async () => {
  const refused = direct({ listenUrl: 'postgres://u:p@127.0.0.1:1/d' })
  const row = await check('listen', refused)
  await refused.close()
  expect(row).toMatchObject({
    ok: false,
    detail: expect.stringMatching(/^cannot listen: No connection to the database/),
  })
  expect(row.advice).not.toContain('pooler')
})

it('LISTEN that succeeds and delivers nothing names listenUrl and DUEQ_LISTEN_URL', async () => {
  expect(await check('listen')).toMatchObject({ ok: true })
  // Notifications stay within their database, so this is as silent as a pooler in transaction mode.
  const name = `${test.schema}_silent`
  await test.sql.unsafe(`create database ${name} template template0`)
  const listenUrl = Object.assign(new URL(test.url), { pathname: `/${name}` }).href
  const deaf = direct({ listenUrl })
  const silent = await check('listen', deaf)
  await deaf.close()
  await test.sql.unsafe(`drop database ${name} with (force)`)
  expect(silent).toMatchObject({
    ok: false,
    detail: expect.stringMatching(/did not arrive within .* a pooler in transaction mode/),
    advice: expect.stringMatching(/listenUrl.*DUEQ_LISTEN_URL/),
  })
})

it('a listen URL that leads nowhere says why', async () => {
  const lost = await check('listen', direct({ listenUrl: 'postgres://u:p@127.0.0.1:1/d' }))
  expect(lost).toMatchObject({ ok: false, detail: expect.stringContaining('ECONNREFUSED') })
})

it('polling that is intended is well, polling for want of a connection is not', async () => {
  expect(await check('listen', direct({ listen: false }))).toMatchObject({ ok: true })
  const query = (text: string, params: (string | null)[]) =>
    test.sql.unsafe(text, params as never[]).values() as Promise<unknown[]>
  expect(await check('listen', test.another({ query }))).toMatchObject({
    ok: false,
    detail: 'no connection is known on which to listen',
  })
})

it('prepared statements work on a direct connection', async () => {
  expect(await check('prepared statements')).toMatchObject({ ok: true, detail: 'they work' })
})

it('a pooler in transaction mode: LISTEN, the prepared statements of a shared postgres.js, and what to do about each', async (context) => {
  if (!findPgBouncer()) context.skip(missingPgBouncer)
  await using pooler = await startPgBouncer(test.url)
  vi.stubEnv('DUEQ_LISTEN_URL', undefined)
  const sql = postgres(pooler.url, { max: 2, fetch_types: false, onnotice: () => {} })
  const naive = await test.another({ sql, timeout: '5s' }).doctor()
  await sql.end({ timeout: 0 })
  const of = (checks: readonly Check[], name: string) => checks.find((row) => row.check === name)
  expect(of(naive, 'listen')).toMatchObject({ ok: false, advice: expect.stringContaining('DUEQ_LISTEN_URL') })
  expect(of(naive, 'prepared statements')).toMatchObject({
    ok: false,
    advice: expect.stringContaining('prepare: false'),
  })
  const told = await direct({ url: pooler.url, prepare: false }).doctor()
  expect(of(told, 'listen')).toMatchObject({ ok: true })
  expect(of(told, 'prepared statements')).toMatchObject({
    ok: true,
    detail: expect.stringContaining('pooler in between'),
  })
}, 30_000)
