// Bad surroundings: databases and schemas that are missing, closed, silent, or of another age.
import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import postgres from 'postgres'
import { connect } from '../../src/index.js'
import { migrate } from '../../src/migrate.js'
import { startSilent } from '../support/fake-server.js'
import type { BadInput, World } from './row.js'

export const databases: readonly BadInput[] = [
  [
    'a port on which nobody listens',
    'database.unreachable',
    /ECONNREFUSED.*host and port/,
    () => check('postgres://u:secret@127.0.0.1:1/d'),
  ],
  [
    'a host that does not exist',
    'database.unreachable',
    /No connection/,
    () => check('postgres://u:secret@nobody.invalid/d'),
  ],
  ['a server that accepts and never answers', 'timeout', /no answer within 300 ms/, onSilentServer],
  ['a driver that never answers', 'timeout', /no answer within 100 ms/, ({ test }) => silentDriver(test.schema)],
  [
    'a wrong password',
    'database.credentials',
    /user and password/,
    ({ test }) => check(changed(test.url, { password: 'wrong' })),
  ],
  [
    'an unknown user',
    'database.credentials',
    /user and password/,
    ({ test }) => check(changed(test.url, { username: 'nobody_here' })),
  ],
  [
    'an unknown database',
    'database.not_found',
    /database name/,
    ({ test }) => check(changed(test.url, { pathname: '/not_here' })),
  ],
  [
    'migrating an unknown database',
    'database.not_found',
    /database name/,
    ({ test }) => migrate({ url: changed(test.url, { pathname: '/not_here' }) }),
  ],
  ['a role without rights', 'database.permission', /Ask for the role `t_\w+_producer`/, withoutRights],
  ['a schema without dueq', 'schema.missing', /npx dueq migrate/, ({ test }) => check(test.url, 'nothing_here')],
  [
    'a schema without dueq, in a transaction',
    'schema.missing',
    /npx dueq migrate/,
    ({ test }) => inMissingSchema(test.sql),
  ],
  ['an older schema', 'schema.older', /version 100.*npx dueq migrate/, (world) => atVersion(world, 100)],
  ['a newer schema', 'schema.newer', /Upgrade the dueq package/, (world) => atVersion(world, 200)],
  ['migrating a newer schema', 'schema.newer', /0999_later.*Upgrade/, migrateNewer],
  ['a migration that fails', 'migration.failed', /nothing was changed/, migrateBroken],
  ['a lock that is not given up', 'lock.timeout', /Another transaction holds the row/, lockTimeout],
  ['a transaction that has failed before', 'transaction.aborted', /roll it back/, abortedTransaction],
]

// --- internal ---

async function check(url: string, schema = 'dueq'): Promise<unknown> {
  await using dueq = connect({ url, schema, timeout: '5s' })
  return await dueq.check()
}

function changed(url: string, parts: Partial<Pick<URL, 'password' | 'username' | 'pathname'>>): string {
  return Object.assign(new URL(url), parts).href
}

async function onSilentServer(): Promise<unknown> {
  await using server = await startSilent()
  await using dueq = connect(server.url, { timeout: 300 })
  return await dueq.check()
}

async function silentDriver(schema: string): Promise<unknown> {
  await using dueq = connect({ query: () => new Promise(() => {}), schema, timeout: 100 })
  return await dueq.check()
}

async function withoutRights({ test, queue }: World): Promise<unknown> {
  const sql = postgres(test.url, { max: 1, connection: { role: 'pg_monitor' } as object })
  try {
    return await test.another({ sql }).queue(queue.name).enqueue(1)
  } finally {
    await sql.end()
  }
}

async function inMissingSchema(sql: postgres.Sql): Promise<unknown> {
  await using dueq = connect({ sql, schema: 'nothing_here' })
  return await sql.begin((tx) => dueq.in(tx).queue('q').enqueue(1))
}

/** A client that meets a schema of another version; the right one is there again afterwards. */
async function atVersion({ test, queue }: World, version: number): Promise<unknown> {
  const setVersion = (to: number) =>
    test.sql.unsafe(
      `create or replace function ${test.schema}.schema_version() returns integer language sql immutable as 'select ${to}'`,
    )
  const { schemaVersion } = await test.dueq.check()
  await setVersion(version)
  try {
    return await test.another().queue(queue.name).enqueue(1)
  } finally {
    await setVersion(schemaVersion)
  }
}

async function migrateNewer({ test }: World): Promise<unknown> {
  const table = test.sql(`${test.schema}.migrations`)
  await test.sql`insert into ${table} (name, run_on) values ('0999_later', now())`
  try {
    return await migrate({ url: test.url, schema: test.schema })
  } finally {
    await test.sql`delete from ${table} where name = '0999_later'`
  }
}

async function migrateBroken({ test }: World): Promise<unknown> {
  const directory = await mkdtemp(join(tmpdir(), 'dueq-test-'))
  const schema = `${test.schema}_broken`
  await mkdir(join(directory, 'engine'))
  await writeFile(join(directory, '0001_whole.sql'), 'create table left_behind (id int);\n')
  await writeFile(join(directory, 'engine/10_broken.sql'), 'select 1 / 0;\n')
  try {
    return await migrate({ url: test.url, schema, directory })
  } catch (error) {
    const [row] = await test.sql`select to_regclass(${`${schema}.left_behind`}) as found`
    throw row!['found'] === null ? error : new Error('The failed migration left a table behind')
  } finally {
    await test.sql`drop schema if exists ${test.sql(schema)} cascade`
    await rm(directory, { recursive: true })
  }
}

async function lockTimeout({ test, leased }: World): Promise<unknown> {
  return test.sql.begin(async (holder) => {
    await holder`select id from ${holder(test.schema)}.messages where id = ${leased.id} for update`
    return test.sql.begin(async (tx) => {
      await tx`set local lock_timeout = '50ms'`
      return leased.in(tx).ack()
    })
  })
}

async function abortedTransaction({ test, queue }: World): Promise<unknown> {
  return test.sql.begin(async (tx) => {
    await tx`select 1 / 0`.catch(() => {})
    return test.dueq.in(tx).queue(queue.name).enqueue(1)
  })
}
