// A login whose search path leads through a schema that somebody else owns, `public` say, full of operators and functions that
// fit better than those of PostgreSQL: none of them is ever called, by the client, the command line or the functions.
import { randomBytes } from 'node:crypto'
import { afterAll, beforeAll, expect, it } from 'vitest'
import { roleNames } from '../../src/privileges.js'
import { rolesSql } from '../../src/roles.js'
import { dueqOn } from '../cli/dueq.js'
import { startClient, type TestClient } from '../client/client.js'
import { lifeOn } from '../surroundings/life.js'
import { type Roles, runScript, startRoles } from './roles.js'

const hostile = `hostile_${randomBytes(4).toString('hex')}`
let test: TestClient
let roles: Roles
let expected: unknown
beforeAll(async () => {
  test = await startClient()
  roles = await startRoles(test)
  // All roles in one login, so that it can live a whole life.
  await runScript(
    test.url,
    rolesSql({ schema: test.schema, grant: [{ login: roles.login('operator'), roles: roleNames }] }),
  )
  expected = await lifeOn(test.another())
  await test.sql.unsafe(`create schema ${hostile}; grant usage on schema ${hostile} to public`)
})
afterAll(async () => {
  await roles?.[Symbol.asyncDispose]()
  await test.sql.unsafe(`drop schema if exists ${hostile} cascade`)
  await test.close()
})

const types = [
  'smallint',
  'integer',
  'bigint',
  'real',
  'double precision',
  'numeric',
  'text',
  'varchar',
  'name',
  'boolean',
  'timestamptz',
  'timestamp',
  'date',
  'interval',
  'jsonb',
  'json',
  'text[]',
  'bigint[]',
  'integer[]',
  'oid',
  'regclass',
]
const operators = [
  '=',
  '<>',
  '<',
  '>',
  '<=',
  '>=',
  '+',
  '-',
  '*',
  '/',
  '||',
  '~',
  '!~',
  '~*',
  '@>',
  '->',
  '->>',
  '?',
  '%',
]

/** Every operator on every pair of types that PostgreSQL has none for, and every function of its own for each of the types. */
const traps = `
do $do$
declare
  t text;
  u text;
  o text;
  f text;
begin
  set local search_path = pg_catalog;
  set local check_function_bodies = off;
  foreach t in array array['${types.join("', '")}'] loop
    foreach u in array array['${types.join("', '")}'] loop
      execute format('create function ${hostile}.trap(%s, %s) returns boolean language plpgsql as ''begin raise exception ''''trapped %1$s %2$s''''; end''', t, u);
      foreach o in array array['${operators.join("', '")}'] loop
        if to_regoperator(format('pg_catalog.%s(%s, %s)', o, t, u)) is null then
          execute format('create operator ${hostile}.%s (leftarg = %s, rightarg = %s, function = ${hostile}.trap)', o, t, u);
        end if;
      end loop;
    end loop;
    foreach f in array array['to_json', 'array_agg', 'pg_notify', 'array_to_string', 'to_timestamp', 'date_part', 'unnest', 'cardinality',
                             'left', 'format', 'count', 'min', 'max', 'sum', 'regexp_replace', 'to_regclass', 'set_config', 'pg_sleep',
                             'hashtextextended', 'pg_advisory_xact_lock', 'pg_advisory_lock', 'quote_ident', 'to_regrole'] loop
      if to_regprocedure(format('pg_catalog.%s(%s)', f, t)) is null then
        execute format('create function ${hostile}.%I(%s) returns text language plpgsql as ''begin raise exception ''''trapped %1$s(%2$s)''''; end''', f, t);
      end if;
    end loop;
  end loop;
end
$do$`

it('operators and functions that fit better change nothing for a client, whose every verb works', async () => {
  await test.sql.unsafe(traps)
  const [{ count }] = (await test.sql.unsafe(
    `select count(*)::int from pg_operator where oprnamespace = '${hostile}'::regnamespace`,
  )) as [{ count: number }]
  expect(count).toBeGreaterThan(3000)
  await test.sql.unsafe(`alter role ${roles.login('operator')} set search_path = ${hostile}, public`)
  const url = roles.url('operator')
  const session = await roles.session('operator')
  await expect(session.query('select 1::double precision * 2::integer')).rejects.toThrow('trapped')
  expect(await lifeOn(test.anotherByUrl({ url, listenUrl: url }))).toEqual(expected)
})

it('settings of the login change nothing either; one that is read-only says so', async () => {
  const login = roles.login('operator')
  const settings = {
    row_security: 'off',
    standard_conforming_strings: 'off',
    array_nulls: 'off',
    transform_null_equals: 'on',
    intervalstyle: 'sql_standard',
    datestyle: 'German',
    timezone: 'Pacific/Chatham',
    extra_float_digits: '-15',
    default_transaction_isolation: 'serializable',
    default_transaction_deferrable: 'on',
    'plpgsql.extra_errors': 'all',
    lock_timeout: '1',
    enable_indexscan: 'off',
  }
  const set = ([name, value]: [string, string]) => `alter role ${login} set ${name} = '${value}'`
  await test.sql.unsafe(Object.entries(settings).map(set).join(';'))
  const url = roles.url('operator')
  expect(await lifeOn(test.anotherByUrl({ url, listenUrl: url }))).toEqual(expected)
  for (const name of Object.keys(settings)) await test.sql.unsafe(`alter role ${login} reset ${name}`)
  await test.sql.unsafe(`alter role ${login} set default_transaction_read_only = on`)
  const readOnly = test.anotherByUrl({ url, listenUrl: url })
  await expect(readOnly.queue('life1').enqueue(1)).rejects.toMatchObject({ code: 'database.read_only' })
  await test.sql.unsafe(`alter role ${login} reset default_transaction_read_only`)
  const session = await roles.session('producer')
  await expect(session.query('set session_replication_role = replica')).rejects.toMatchObject({ code: '42501' })
})

it('nor for the command line: stats, peek, dead letters, doctor, and for `dueq roles` and `dueq migrate` by the owner', async () => {
  const dueq = dueqOn({ url: roles.url('operator'), schema: test.schema })
  const run = async (...args: string[]) => {
    const { code, stdout, stderr } = await dueq(...args)
    expect(stdout + stderr, args.join(' ')).not.toContain('trapped')
    expect(code, `${args.join(' ')}: ${stderr}`).toBe(0)
  }
  await run('queue', 'create', 'mail', '--max-attempts', '1')
  await run('enqueue', 'mail', '1')
  await run('peek', 'mail')
  await run('stats')
  await run('consume', 'mail', '--drain', '--exec', 'true')
  await run('dead', 'list')
  // What else the database is up to is not its business.
  const { stdout } = await dueq('doctor', '--json')
  const failed = (JSON.parse(stdout).checks as { check: string; ok: boolean; detail: string }[]).filter(({ ok }) => !ok)
  expect(failed.filter(({ check }) => /^(database|listen|prepared statements|clock skew)$/.test(check))).toEqual([])
  expect(stdout).not.toContain('trapped')
  const owner = Object.assign(new URL(test.url), {
    search: `?options=${encodeURIComponent(`-c search_path=${hostile}`)}`,
  })
  const owned = dueqOn({ url: owner.href, schema: test.schema })
  for (const command of [['roles'], ['migrate']]) {
    const { code, stderr } = await owned(...command)
    expect(code, stderr).toBe(0)
  }
})
