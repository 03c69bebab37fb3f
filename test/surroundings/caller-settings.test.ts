import { randomBytes } from 'node:crypto'
import pg from 'pg'
import postgres from 'postgres'
import { afterAll, beforeAll, expect, it } from 'vitest'
import { startClient, type TestClient } from '../client/client.js'
import { lifeOn } from './life.js'

let test: TestClient
let expected: unknown
beforeAll(async () => {
  test = await startClient()
  expected = await lifeOn(test.dueq)
})
afterAll(() => test.close())

/** Lives a life on a connection of the caller on which these statements were run before. */
async function lifeAfter(...before: readonly string[]): Promise<unknown> {
  const session = new pg.Client({ connectionString: test.url })
  await session.connect()
  try {
    for (const text of before) await session.query(text)
    return await lifeOn(test.another({ pool: session, listen: false }))
  } finally {
    await session.end()
  }
}

it.each([
  `set datestyle = 'German, DMY'`,
  `set timezone = 'Pacific/Chatham'`,
  `set intervalstyle = 'sql_standard'`,
  `set bytea_output = 'escape'`,
  `set standard_conforming_strings = off`,
  `set extra_float_digits = -15`,
  `set array_nulls = off`,
  `set transform_null_equals = on`,
  `set xmloption = 'document'`,
  `set row_security = off`,
  `set search_path = ''`,
  `set lc_messages = 'C'`,
  `set session_replication_role = replica`,
  `set plpgsql.variable_conflict = error`,
  `set plpgsql.extra_errors = 'all'`,
  `set statement_timeout = '10s'`,
  `set lock_timeout = 1`,
  `set default_transaction_isolation = 'serializable'`,
  `set default_transaction_deferrable = on`,
  `set plan_cache_mode = force_custom_plan`,
  `set jit = on; set jit_above_cost = 0`,
  `set work_mem = '64kB'; set temp_buffers = 100`,
  `set from_collapse_limit = 1; set join_collapse_limit = 1; set geqo_threshold = 2`,
  ['indexscan', 'indexonlyscan', 'nestloop', 'sort', 'hashagg', 'material', 'memoize', 'tidscan']
    .map((node) => `set enable_${node} = off`)
    .join('; '),
])('%s on the connection of the caller changes nothing', async (text) => {
  expect(await lifeAfter(text)).toEqual(expected)
})

it('functions of others with our names, or with better fitting types than those of PostgreSQL, change nothing', async () => {
  const schema = `hostile_${randomBytes(4).toString('hex')}`
  const imposters = (where: string) =>
    [
      `clock() returns timestamptz language sql as $$ select timestamptz '1999-01-01' $$`,
      `to_json(timestamptz) returns json language sql as $$ select '"1999-01-01T00:00:00Z"'::json $$`,
      `array_replace(text[], text, text) returns text[] language sql as $$ select null::text[] $$`,
      `unnest(text[]) returns setof text language sql as $$ select 'x' $$`,
      `pg_notify(text, text) returns void language sql as $$ select 1 / 0 $$`,
      `make_interval(double precision) returns interval language sql as $$ select interval '1 year' $$`,
      `enqueue(text, jsonb) returns bigint language sql as $$ select 1 / 0 $$`,
    ].map((text) => `create function ${where}.${text}`)
  try {
    const life = await lifeAfter(
      `create schema ${schema}`,
      ...imposters(schema),
      ...imposters('pg_temp'),
      'create temp table messages (id bigint)',
      'create temp table queues (id bigint)',
      `set search_path = ${schema}, pg_catalog, pg_temp`,
    )
    expect(life).toEqual(expected)
  } finally {
    await test.sql`drop schema ${test.sql(schema)} cascade`
  }
})

it('discard all and deallocate all before each statement of dueq, which the driver has prepared, change nothing', async () => {
  const sql = postgres(test.url, { max: 1, onnotice: () => {} })
  const spoilers = ['discard all', 'reset all', 'deallocate all', 'discard plans']
  let count = 0
  const query = async (text: string, params: (string | null)[]): Promise<readonly unknown[]> => {
    await sql.unsafe(spoilers[count++ % spoilers.length]!)
    return sql.unsafe(text, params, { prepare: true }).values()
  }
  const dueq = test.another({ query })
  for (let round = 0; round < 2; round++) expect(await lifeOn(dueq)).toEqual(expected)
  await sql.end()
})
