// `dueq roles`: safe to run twice and after each migration, for any schema and prefix, undone without a trace; and what the
// doctor says where the rights are not what they should be.
import { randomBytes } from 'node:crypto'
import { afterEach, beforeEach, expect, it } from 'vitest'
import { migrate } from '../../src/migrate.js'
import { membership, type RolesChange, rolesSql } from '../../src/roles.js'
import { dueqOn } from '../cli/dueq.js'
import { freshSchema, type TestSchema } from '../support/database.js'
import { runScript } from './roles.js'

let test: TestSchema
let app: string
beforeEach(async () => {
  test = await freshSchema()
  app = `app_${randomBytes(4).toString('hex')}`
  await test.sql.unsafe(`create role ${app} login password 'x'`)
})
afterEach(async () => {
  await change({ drop: true })
  await test.sql.unsafe(`drop owned by ${app}; drop role ${app}`)
  await test.close()
})

const cli = (schema = test.schema) => dueqOn({ url: test.url, schema })
/** What the command does, without its process. */
const change = (wanted: Partial<RolesChange> = {}, url = test.url) =>
  runScript(url, rolesSql({ schema: test.schema, ...wanted }))
const short = ['consumer', 'operator', 'producer', 'viewer']

it('creates the roles, grants them to logins, and says so again when run again', async () => {
  const first = await cli()('roles', '--grant', `${app}=producer,viewer`)
  expect(first).toMatchObject({ code: 0, stderr: '' })
  expect(first.stdout).toContain(`${app} is a member of ${test.schema}_producer, ${test.schema}_viewer.`)
  const rights = await rightsIn(test.schema)
  expect(rights.length).toBeGreaterThan(60)
  expect(await cli()('roles', '--grant', `${app}=producer,viewer`)).toMatchObject({ code: 0, stdout: first.stdout })
  expect(await rightsIn(test.schema)).toEqual(rights)
  expect(await membersOf()).toEqual([`${app} in producer`, `${app} in viewer`])
  await cli()('roles', '--revoke', `${app}=viewer`)
  expect(await membersOf()).toEqual([`${app} in producer`])
})

it('two at once do not fail', async () => {
  await Promise.all([change(), change(), change()])
  expect(await rolesLike(test.schema)).toHaveLength(4)
})

it('--drop takes everything away, and drops the roles', async () => {
  const before = await rightsIn(test.schema)
  await change({ grant: [membership(`${app}=operator`)] })
  expect(await cli()('roles', '--drop')).toMatchObject({ code: 0, stderr: '' })
  expect(await rightsIn(test.schema)).toEqual(before)
  expect(await rolesLike(test.schema)).toEqual([])
  await change({ drop: true })
})

it('two schemas of a cluster have roles of their own: a producer of one is none of the other', async () => {
  await using other = await freshSchema()
  await change({ grant: [membership(`${app}=producer`)] })
  await change({ schema: other.schema })
  await test.sql.unsafe(`select ${test.schema}.create_queue('q'), ${other.schema}.create_queue('q')`)
  const url = Object.assign(new URL(test.url), { username: app, password: 'x' }).href
  const enqueue = (schema: string) => runScript(url, `select ${schema}.enqueue('q', '1')`)
  await enqueue(test.schema)
  await expect(enqueue(other.schema)).rejects.toMatchObject({ code: '42501' })
  await change({ schema: other.schema, drop: true })
  await enqueue(test.schema)
})

it('--prefix names them otherwise, beside those that are there', async () => {
  const prefix = `p_${randomBytes(4).toString('hex')}`
  await change()
  await change({ prefix, grant: [membership(`${app}=consumer`)] })
  expect(await rolesLike(prefix)).toEqual(short.map((role) => `${prefix}_${role}`))
  await migrate({ url: test.url, schema: test.schema })
  expect(await rightsCheck()).toMatchObject({ ok: true, detail: expect.stringContaining(`${prefix}_viewer`) })
  await change({ prefix, drop: true })
  expect(await rolesLike(prefix)).toEqual([])
  expect(await rolesLike(test.schema)).toHaveLength(4)
})

it('a role that has rights elsewhere loses those here, and stays', async () => {
  await change()
  await test.sql.unsafe(`create table public.elsewhere_${app} (id integer);
    grant select on public.elsewhere_${app} to ${test.schema}_viewer`)
  await change({ drop: true })
  expect(await rolesLike(test.schema)).toEqual([`${test.schema}_viewer`])
  await test.sql.unsafe(`drop table public.elsewhere_${app}`)
})

it('--sql prints what it runs, and connects to nothing', async () => {
  const { code, stdout } = await dueqOn({ url: 'postgres://nobody@127.0.0.1:1/none', schema: test.schema })(
    'roles',
    '--sql',
  )
  expect(code).toBe(0)
  await runScript(test.url, stdout)
  const rights = await rightsIn(test.schema)
  await change()
  expect(await rightsIn(test.schema)).toEqual(rights)
})

it('names that would break out of the text are refused or quoted', async () => {
  for (const prefix of [`x"; drop schema public; --`, 'Upper', 'x'.repeat(51), '', 'pg_x'])
    expect(() => rolesSql({ schema: test.schema, prefix }), prefix).toThrow('Expected `prefix`')
  expect(() => rolesSql({ schema: `x"y` })).toThrow('Expected `')
  for (const text of ['app', '=producer', 'app=superuser', 'app=producer,', 'app=', `${'x'.repeat(64)}=viewer`])
    expect(() => membership(text), text).toThrow('Expected a login and its roles')
  const { code } = await cli()('roles', '--grant', 'app=producer', '--drop')
  expect(code).toBe(2)
  const odd = `o'dd"; drop schema ${test.schema} cascade; --`
  await test.sql.unsafe(`create role "${odd.replaceAll('"', '""')}"`)
  try {
    await change({ grant: [membership(`${odd}=viewer`)] })
    expect(await membersOf()).toEqual([`${odd} in viewer`])
  } finally {
    await test.sql.unsafe(`drop role "${odd.replaceAll('"', '""')}"`)
  }
})

it('an owner who may not create roles uses those that somebody made, and is told where there are none', async () => {
  const owner = `${app}_owner`
  await test.sql.unsafe(
    `create role ${owner} login password 'x'; grant create on database ${new URL(test.url).pathname.slice(1)} to ${owner}`,
  )
  const schema = `${test.schema}_own`
  const url = Object.assign(new URL(test.url), { username: owner, password: 'x' }).href
  try {
    await migrate({ url, schema })
    const owned = dueqOn({ url, schema })
    const refused = await owned('roles', '--json')
    expect(refused.json()).toMatchObject({ error: { code: 'database.permission' } })
    for (const role of short) await test.sql.unsafe(`create role ${schema}_${role}`)
    await change({ schema }, url)
    expect(await rightsCheck(schema)).toMatchObject({ ok: true })
    await migrate({ url, schema })
    await change({ schema, drop: true })
  } finally {
    await test.sql.unsafe(`drop owned by ${owner}; drop role ${owner}`)
  }
})

it('a migration that drops a function and creates it anew restores what roles may do, in itself and at the end of `migrate`', async () => {
  await change()
  const rights = await rightsIn(test.schema)
  const [{ text }] = (await test.sql.unsafe(
    `select pg_get_functiondef('${test.schema}.enqueue_many'::regproc) as text`,
  )) as [{ text: string }]
  const anew = `drop function ${test.schema}.enqueue_many; ${text}; revoke all on function ${test.schema}.enqueue_many from public`
  await test.sql.unsafe(anew)
  expect(await rightsCheck()).toMatchObject({
    ok: false,
    detail: `${test.schema}_producer cannot use enqueue_many`,
    advice: expect.stringContaining('dueq roles'),
  })
  await migrate({ url: test.url, schema: test.schema })
  expect(await rightsIn(test.schema)).toEqual(rights)
  await test.sql.unsafe(`${anew}; select ${test.schema}.restore_grants()`)
  expect(await rightsIn(test.schema)).toEqual(rights)
  expect(await rightsCheck()).toMatchObject({ ok: true })
})

it('the doctor tells of what everybody may do, of others who may create in the schema, and of a role with more than its share', async () => {
  const s = test.schema
  expect(await rightsCheck()).toMatchObject({ ok: true, detail: expect.stringContaining('nobody but the owner') })
  await change()
  const told = async (made: string, back: string) => {
    await test.sql.unsafe(made)
    const { ok, detail, advice } = await rightsCheck()
    await test.sql.unsafe(back)
    expect(ok, made).toBe(false)
    expect(advice).not.toBeNull()
    return detail
  }
  expect(
    await told(`grant execute on function ${s}.purge to public`, `revoke all on function ${s}.purge from public`),
  ).toBe('everybody may use purge')
  expect(await told(`grant select on ${s}.messages to public`, `revoke all on ${s}.messages from public`)).toBe(
    'everybody may use messages',
  )
  expect(await told(`grant create on schema ${s} to ${app}`, `revoke create on schema ${s} from ${app}`)).toBe(
    `${app} may create in schema ${s}`,
  )
  const owner = new URL(test.url).username
  expect(
    await told(`alter function ${s}.purge owner to ${app}`, `alter function ${s}.purge owner to ${owner}`),
  ).toContain('purge are not owned by')
  expect(await told(`alter schema ${s} owner to ${app}`, `alter schema ${s} owner to ${owner}`)).toContain(
    `schema ${s} is owned by ${app}`,
  )
  expect(
    await told(`grant select on ${s}.messages to ${s}_producer`, `revoke select on ${s}.messages from ${s}_producer`),
  ).toContain(`${s}_producer may select messages`)
  expect(
    await told(
      `grant select (payload) on ${s}.messages to ${s}_viewer`,
      `revoke select (payload) on ${s}.messages from ${s}_viewer`,
    ),
  ).toBe(`${s}_viewer may select messages.payload`)
  expect(await rightsCheck()).toMatchObject({ ok: true })
})

// --- internal ---

async function rightsCheck(schema = test.schema): Promise<{ ok: boolean; detail: string; advice: string | null }> {
  const [row] = await test.sql.unsafe(`select ok, detail, advice from ${schema}.doctor() where "check" = 'rights'`)
  return row as unknown as { ok: boolean; detail: string; advice: string | null }
}

/** Every right in a schema of somebody who is not the owner. */
async function rightsIn(schema: string): Promise<readonly string[]> {
  const rows = await test.sql<{ right: string }[]>`
    select concat_ws(' ', o.name, a.privilege_type, a.grantee::regrole) as right
      from (select p.proname::text as name, p.proacl as acl, p.proowner as owner from pg_proc p where p.pronamespace = ${schema}::regnamespace
             union all
            select c.relname, c.relacl, c.relowner from pg_class c where c.relnamespace = ${schema}::regnamespace
             union all
            select c.relname || '.' || t.attname, t.attacl, c.relowner
              from pg_class c join pg_attribute t on t.attrelid = c.oid where c.relnamespace = ${schema}::regnamespace
             union all
            select 'schema', n.nspacl, n.nspowner from pg_namespace n where n.oid = ${schema}::regnamespace) o
     cross join aclexplode(o.acl) a
     where a.grantee <> o.owner order by 1`
  return rows.map(({ right }) => right)
}

async function rolesLike(prefix: string): Promise<readonly string[]> {
  const rows = await test.sql<{ name: string }[]>`
    select rolname as name from pg_roles where rolname like ${`${prefix}\\_%`} order by 1`
  return rows.map(({ name }) => name)
}

async function membersOf(): Promise<readonly string[]> {
  const rows = await test.sql<{ member: string }[]>`
    select m.rolname || ' in ' || replace(r.rolname, ${`${test.schema}_`}, '') as member
      from pg_auth_members a join pg_roles r on r.oid = a.roleid join pg_roles m on m.oid = a.member
     where r.rolname like ${`${test.schema}\\_%`} and m.rolname <> ${new URL(test.url).username} order by 1`
  return rows.map(({ member }) => member)
}
