// The table of privileges, row by row: every function with arguments that it accepts, every column of every relation, as each
// role on a real server. What is in the schema and not in the table fails here.
import { readdirSync, readFileSync, writeFileSync } from 'node:fs'
import type pg from 'pg'
import { afterAll, beforeAll, expect, it } from 'vitest'
import { functionPrivileges, type RoleName, roleNames, rolesFor, viewPrivileges } from '../../src/privileges.js'
import { freshSchema, type TestSchema } from '../support/database.js'
import { type Login, logins, type Roles, startRoles } from './roles.js'

let test: TestSchema
let roles: Roles
const sessions = new Map<Login, pg.Client>()
beforeAll(async () => {
  test = await freshSchema()
  roles = await startRoles(test)
  for (const login of logins) sessions.set(login, await roles.session(login))
  await test.sql.unsafe(named(`select dueq.create_queue('q'), dueq.create_queue('empty')`))
  await test.sql.unsafe(named(`select dueq.enqueue_many('q', array['1', '2', '3']::jsonb[])`))
  await test.sql.unsafe(named(`select count(*) from dueq.dequeue('q', 2)`))
  await test.sql.unsafe(named(`select dueq.dead_letter(1, 1, 'r')`))
})
afterAll(async () => {
  await roles?.[Symbol.asyncDispose]()
  await test.close()
})

/** A call of every public function that does something: message 1 is dead, 2 leased, 3 ready. */
const calls: Readonly<Record<string, string>> = {
  schema_version: `schema_version()`,
  clock: `clock()`,
  enqueue: `enqueue('q', '1', priority => 7, dedup_key => 'k', headers => '{}')`,
  enqueue_many: `enqueue_many('q', array['1']::jsonb[], priorities => array[9], dedup_keys => array['k'])`,
  _enqueue_many_plain: `_enqueue_many_plain('q', '[1, 2]', null, true)`,
  wake: `wake('q')`,
  poll: `poll('q', listening => true)`,
  dequeue: `dequeue('q')`,
  ack: `ack(2, 1)`,
  ack_many: `ack_many(array[2, 3]::bigint[], array[1, 1])`,
  nack: `nack(2, 1, 'e')`,
  nack_many: `nack_many(array[2, 3]::bigint[], array[1, 1])`,
  release: `release(2, 1)`,
  release_many: `release_many(array[2, 3]::bigint[], array[1, 1])`,
  extend: `extend(2, 1)`,
  extend_many: `extend_many(array[2, 3]::bigint[], array[1, 1], '1 minute')`,
  dead_letter: `dead_letter(2, 1, 'r')`,
  create_queue: `create_queue('new')`,
  drop_queue: `drop_queue('empty')`,
  pause_queue: `pause_queue('q')`,
  resume_queue: `resume_queue('q')`,
  cancel: `cancel(3)`,
  reschedule: `reschedule(3, '1 hour')`,
  redrive: `redrive('q')`,
  purge: `purge('q')`,
  purge_dead: `purge_dead('q')`,
  next_ready_at: `next_ready_at('q')`,
  doctor: `doctor()`,
  _refused_until: `_refused_until(1, 5)`,
  restore_grants: `restore_grants()`,
}

it('every public function has a call here, and a line in the table unless it is for the owner alone', async () => {
  const functions = await functionsOf()
  const known = functions.map(({ name }) => name)
  // What fixes its path is called from outside, whatever its name.
  const entries = functions.filter(({ name, isEntry }) => isEntry || !name.startsWith('_')).map(({ name }) => name)
  expect(Object.keys(calls).sort()).toEqual(entries.sort())
  expect(Object.keys(functionPrivileges).filter((name) => !known.includes(name))).toEqual([])
  expect(entries.filter((name) => !functionPrivileges[name])).toEqual(['restore_grants'])
})

it('every function and view that the client calls is for one of the roles', () => {
  const src = new URL('../../src/', import.meta.url)
  const called = readdirSync(src)
    .filter((file) => file.startsWith('statements'))
    .flatMap((file) => [...readFileSync(new URL(file, src), 'utf8').matchAll(/(?:\$\{f\}|"\$\{schema\}"\.)(\w+)/g)])
    .map(([, name]) => name!)
  expect(new Set(called).size).toBeGreaterThan(25)
  expect(called.filter((name) => (rolesFor(name) ?? []).length === 0)).toEqual([])
})

it.each(logins)('%s may call the functions that the table says, and no others', async (login) => {
  const functions = await functionsOf()
  expect(functions.length).toBeGreaterThan(50)
  for (const { name, nulls } of functions) {
    const isAllowed = login !== 'nobody' && (functionPrivileges[name]?.includes(login) ?? false)
    // The parts of the doctor are called by it, with arguments; alone it is the right that matters.
    const call = calls[name] ?? `${name}(${nulls})`
    const code = await codeAs(login, named(`select x::text from dueq.${call} x`))
    if (!isAllowed) expect(code, `${login}, ${name}`).toBe('42501')
    else if (calls[name]) expect(code, `${login}, ${name}`).toBe('none')
    else expect(code, `${login}, ${name}`).not.toBe('42501')
  }
})

it.each(logins)('%s may read the columns that the table says, and no others', async (login) => {
  const columns = await columnsOf()
  expect(columns.length).toBeGreaterThan(80)
  for (const { relation, column } of columns) {
    const reading = login === 'nobody' ? undefined : viewPrivileges[relation]?.[login]
    const isAllowed = reading === 'all' || (reading?.includes(column) ?? false)
    const code = await codeAs(login, named(`select "${column}" from dueq."${relation}"`))
    expect(code, `${login}, ${relation}.${column}`).toBe(isAllowed ? 'none' : '42501')
  }
})

it('who may call what runs with the rights of its caller may call all that it is made of, on every way through it', async () => {
  const functions = await test.sql<{ name: string; text: string }[]>`
    select p.proname as name, regexp_replace(p.prosrc, '--.*?$', '', 'gn') as text
      from pg_proc p where p.pronamespace = ${test.schema}::regnamespace and not p.prosecdef`
  const known = (await functionsOf()).map(({ name }) => name)
  let partCount = 0
  for (const { name, text } of functions)
    for (const role of functionPrivileges[name] ?? []) {
      const parts = known.filter((part) => part.startsWith('_') && new RegExp(`\\b${part}\\(`).test(text))
      partCount += parts.length
      expect(
        parts.filter((part) => !functionPrivileges[part]?.includes(role)),
        `${role}, ${name}`,
      ).toEqual([])
    }
  expect(partCount).toBeGreaterThan(15)
})

it('what the table says of columns that are no more is gone from it', async () => {
  const columns = await columnsOf()
  for (const [relation, readings] of Object.entries(viewPrivileges)) {
    const known = columns.filter((column) => column.relation === relation).map(({ column }) => column)
    for (const reading of Object.values(readings))
      if (reading !== 'all')
        expect(
          reading.filter((column) => !known.includes(column)),
          relation,
        ).toEqual([])
    expect(known, relation).not.toEqual([])
  }
})

it.each(logins)('%s may write, lock, empty or change no relation', async (login) => {
  const relations = new Map((await columnsOf()).map(({ relation, column }) => [relation, column]))
  for (const [relation, column] of relations) {
    const name = named(`dueq."${relation}"`)
    for (const text of [
      `insert into ${name} default values`,
      `update ${name} set "${column}" = null`,
      `delete from ${name}`,
      `truncate ${name}`,
      `lock table ${name} in row exclusive mode`,
      `alter table ${name} owner to ${roles.login(login)}`,
      `create trigger t before insert on ${name} for each row execute function pg_catalog.suppress_redundant_updates_trigger()`,
    ])
      expect(await codeAs(login, text), text).toMatch(/^(42501|42809|55000)$/) // the last two: views have no such trigger, and take no insert
  }
  for (const text of [
    `create table dueq.mine (id integer)`,
    `create function dueq.mine() returns integer language sql as 'select 1'`,
    `create or replace function dueq.clock() returns timestamptz language sql as 'select now()'`,
    `select nextval('dueq.messages_id_seq'), last_value from dueq.messages_id_seq`,
    `drop schema dueq cascade`,
    `alter schema dueq owner to ${roles.login(login)}`,
    `set role "${new URL(test.url).username}"`,
    `set session authorization "${new URL(test.url).username}"`,
  ])
    expect(await codeAs(login, named(text)), text).toBe('42501')
})

it('docs/security.md has the same table', () => {
  const file = new URL('../../docs/security.md', import.meta.url)
  const page = readFileSync(file, 'utf8')
  const table = page.replace(
    /(?<=<!-- privileges -->\n).*?(?=<!-- \/privileges -->)/s,
    () => `\n${tableOf().join('\n')}\n\n`,
  )
  if (process.env['DUEQ_WRITE_DOCS']) writeFileSync(file, table)
  expect(page).toBe(table)
})

// --- internal ---

/** `isEntry`: it fixes its search path. `nulls`: a null for each argument. */
type Described = { readonly name: string; readonly isEntry: boolean; readonly nulls: string }

function named(text: string): string {
  return text.replace(/\bdueq\b/g, test.schema)
}

/** The SQLSTATE of a statement as this login; nothing of it stays. */
async function codeAs(login: Login, text: string): Promise<string> {
  const client = sessions.get(login)!
  await client.query('begin')
  try {
    await client.query(text)
    return 'none'
  } catch (error) {
    return String((error as { readonly code?: unknown }).code)
  } finally {
    await client.query('rollback')
  }
}

async function functionsOf(): Promise<readonly Described[]> {
  return test.sql<Described[]>`
    select p.proname as name, coalesce(p.proconfig::text like '%search_path=%', false) as "isEntry",
           coalesce((select string_agg('null::' || format_type(t, null), ', ' order by n)
                       from unnest(p.proargtypes) with ordinality a (t, n)), '') as nulls
      from pg_proc p where p.pronamespace = ${test.schema}::regnamespace order by 1`
}

async function columnsOf(): Promise<readonly { readonly relation: string; readonly column: string }[]> {
  return test.sql<{ relation: string; column: string }[]>`
    select c.relname as relation, a.attname as column
      from pg_class c join pg_attribute a on a.attrelid = c.oid and a.attnum > 0 and not a.attisdropped
     where c.relnamespace = ${test.schema}::regnamespace and c.relkind in ('r', 'v', 'm', 'p', 'S') order by 1, a.attnum`
}

/** The table of the page, as Markdown. */
function tableOf(): readonly string[] {
  const row = (cells: readonly string[]): string => `| ${cells.map((cell) => `${cell} `.trimStart()).join('| ')}|`
  const head = (what: string): string[] => [row([what, ...roleNames]), '|---|---|---|---|---|']
  const functionRows = Object.entries(functionPrivileges).map(([name, allowed]) =>
    row([`\`${name}\``, ...roleNames.map((role) => (allowed.includes(role) ? 'yes' : ''))]),
  )
  const reading = (name: string, role: RoleName): string => {
    const columns = viewPrivileges[name]?.[role]
    return columns === undefined || columns === 'all' ? (columns ? 'yes' : '') : columns.join(', ')
  }
  const viewRows = Object.keys(viewPrivileges).map((name) =>
    row([`\`${name}\``, ...roleNames.map((role) => reading(name, role))]),
  )
  return [...head('Function'), ...functionRows, '', ...head('View or table'), ...viewRows]
}
