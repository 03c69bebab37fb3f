import { afterAll, beforeAll, expect, it } from 'vitest'
import { freshSchema, type TestSchema } from '../support/database.js'

let test: TestSchema
beforeAll(async () => {
  test = await freshSchema()
})
afterAll(() => test.close())

it('catalog: nobody but the owner may execute a function until it is granted', async () => {
  const { sql, schema } = test
  const functions = await sql<{ name: string; isPublic: boolean }[]>`
    select p.proname as name,
           p.proacl is null or exists (select from aclexplode(p.proacl) a where a.grantee = 0) as "isPublic"
      from pg_proc p
     where p.pronamespace = ${schema}::regnamespace`
  expect(functions.length).toBeGreaterThan(25)
  expect(functions.filter(({ isPublic }) => isPublic).map(({ name }) => name)).toEqual([])
})

it('catalog: nor read or write a table', async () => {
  const { sql, schema } = test
  const tables = await sql`
    select c.relname from pg_class c, aclexplode(c.relacl) a
     where c.relnamespace = ${schema}::regnamespace and a.grantee = 0`
  expect(tables).toEqual([])
})

it('catalog: no function has a second version', async () => {
  const { sql, schema } = test
  const found = await sql`
    select proname from pg_proc where pronamespace = ${schema}::regnamespace group by proname having count(*) > 1`
  expect(found).toEqual([])
})

it('catalog: what others call runs with the rights of the owner and a fixed search path, what it is made of does not', async () => {
  const { sql, schema } = test
  const functions = await sql<{ name: string; isDefiner: boolean; path: string | null }[]>`
    select p.proname as name, p.prosecdef as "isDefiner", (select c from unnest(p.proconfig) c where c like 'search_path=%') as path
      from pg_proc p where p.pronamespace = ${schema}::regnamespace`
  const asCaller = ['clock', 'schema_version', 'doctor', 'restore_grants']
  for (const { name, isDefiner, path } of functions) {
    // Only what is called from outside fixes its path, so whoever has one and is no definer was forgotten.
    const isEntry = !name.startsWith('_') || path !== null
    expect(isDefiner, name).toBe(isEntry && !asCaller.includes(name))
    if (isDefiner) expect(path, name).toBe(`search_path=${schema}, pg_temp`)
  }
})

it('catalog: every public function fixes its search path, with the temporary schema last', async () => {
  const { sql, schema } = test
  const functions = await sql<{ name: string; path: string | null }[]>`
    select p.proname as name, (select c from unnest(p.proconfig) c where c like 'search_path=%') as path
      from pg_proc p
     where p.pronamespace = ${schema}::regnamespace and p.proname !~ '^_' and p.proname not in ('clock', 'schema_version')`
  for (const { name, path } of functions) expect(path, name).toBe(`search_path=${schema}, pg_temp`)
})

it('catalog: every public function has a comment', async () => {
  const { sql, schema } = test
  const bare = await sql`
    select p.proname from pg_proc p
     where p.pronamespace = ${schema}::regnamespace and p.proname !~ '^_' and obj_description(p.oid) is null`
  expect(bare).toEqual([])
})

it('catalog: every table and each of its columns has a comment', async () => {
  const { sql, schema } = test
  const bare = await sql<{ name: string }[]>`
    select concat_ws('.', c.relname, a.attname) as name
      from pg_class c
      join lateral (
             select null::name as attname, 0 as attnum
              union all
             select t.attname, t.attnum from pg_attribute t where t.attrelid = c.oid and t.attnum > 0 and not t.attisdropped
           ) a on true
     where c.relnamespace = ${schema}::regnamespace and c.relkind = 'r' and c.relname <> 'migrations'
       and coalesce(col_description(c.oid, a.attnum), '') = ''
       and (a.attnum > 0 or coalesce(obj_description(c.oid, 'pg_class'), '') = '')`
  expect(bare.map(({ name }) => name)).toEqual([])
})

it('catalog: every view has a comment', async () => {
  const { sql, schema } = test
  const bare = await sql`
    select c.relname from pg_class c
     where c.relnamespace = ${schema}::regnamespace and c.relkind = 'v' and obj_description(c.oid, 'pg_class') is null`
  expect(bare).toEqual([])
})

it('catalog: constraints and indexes are named after their table and what they keep', async () => {
  const { sql, schema } = test
  const constraints = await sql<{ name: string }[]>`
    select conname as name from pg_constraint
     where connamespace = ${schema}::regnamespace and contype <> 'n' and conrelid <> ${`${schema}.migrations`}::regclass
     order by conname`
  expect(constraints.map(({ name }) => name)).toEqual([
    'dead_letters_pkey',
    'dead_letters_queue_id_fkey',
    'messages_pkey',
    'messages_priority_check',
    'queues_backoff_base_check',
    'queues_backoff_max_check',
    'queues_lease_check',
    'queues_max_attempts_check',
    'queues_max_depth_check',
    'queues_max_payload_bytes_check',
    'queues_name_check',
    'queues_name_key',
    'queues_pkey',
    'queues_poll_interval_check',
    'queues_priorities_check',
    'role_grants_columns_check',
    'role_grants_pkey',
    'role_grants_privilege_check',
  ])
  const indexes = await sql<{ name: string }[]>`
    select c.relname as name
      from pg_class c
     where c.relnamespace = ${schema}::regnamespace and c.relkind = 'i' and c.relname !~ '^migrations' order by 1`
  expect(indexes.map(({ name }) => name)).toEqual([
    'dead_letters_pkey',
    'dead_letters_queue_idx',
    'messages_dedup_idx',
    'messages_pkey',
    'messages_ready_idx',
    'queues_name_key',
    'queues_pkey',
    'role_grants_pkey',
  ])
})
