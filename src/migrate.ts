// Brings the schema up to date with the migrations of this package. Imported on demand: node-pg-migrate and pg are loaded
// when something is migrated, never by `import 'dueq'`.
//
// Invariants: migrations run in one transaction under an advisory lock of their own schema, so that two migrators at once
// are one after the other, and a migration that fails leaves nothing behind. All of it ends by a deadline.
import { existsSync } from 'node:fs'
import { readdir, readFile } from 'node:fs/promises'
import { Socket } from 'node:net'
import { join } from 'node:path'
import type { Client } from 'pg'
import { fromDatabase } from './database-errors.js'
import { DueqError } from './errors.js'
import { type Duration, databaseUrl, describe, durationMs, knownOptions, schemaName } from './options.js'

/** What `migrate`, `migrationStatus` and `migrationSql` take. */
export type MigrateOptions = {
  /** Connection URL. @default `DUEQ_DATABASE_URL`, then `DATABASE_URL` */
  readonly url?: string
  /** Schema that holds the tables and functions, created where missing. @default `DUEQ_SCHEMA`, then `'dueq'` */
  readonly schema?: string
  /** Where the `.sql` files are. Needed only where a bundler has moved this module away from its package. */
  readonly directory?: string
  /** How long all of it may take, waits for locks included, 1s to 1d. @default '5m', for `migrationStatus` '30s' */
  readonly timeout?: Duration
  /** Says what is done, line by line. @default silent */
  readonly log?: (line: string) => void
}

/**
 * Migrates the schema. Running it again, or twice at once, is safe.
 * Errors: `migration.failed` and `lock.timeout` (nothing was changed), `timeout` (run it again), `schema.newer`,
 * `migration.files_missing`, `database.*`.
 */
export async function migrate(options: MigrateOptions = {}): Promise<{ readonly applied: readonly string[] }> {
  const { schema, directory, timeoutMs, log } = checked(options, '5m')
  const known = await migrationNames(directory)
  return connected(options, timeoutMs, async (client) => {
    const { runner } = await import('node-pg-migrate')
    await lockSchema(client, schema)
    const { newer } = await compare(client, schema, known)
    if (newer.length > 0) throw newerSchema(schema, newer)
    await client.query(`create schema if not exists "${schema}"`)
    const applied = await standingAside(client, schema, () =>
      runner({
        dbClient: client,
        dir: directory,
        ignorePattern: '.*(?<!\\.sql)$',
        direction: 'up',
        schema: [schema, 'pg_temp'],
        migrationsTable: 'migrations',
        singleTransaction: true,
        noLock: true,
        logger: loggerOf(log),
      }),
    )
    return { applied: applied.map(({ name }) => name) }
  })
}

/** Compares the schema with the migrations of this package. `newer`: applied, but unknown to this package. */
export async function migrationStatus(options: MigrateOptions = {}): Promise<MigrationStatus> {
  const { schema, directory, timeoutMs } = checked(options, '30s')
  const known = await migrationNames(directory)
  return connected(options, timeoutMs, (client) => compare(client, schema, known))
}

/** The plain SQL of all migrations, for teams that bring it in with a migration tool of their own. */
export async function migrationSql(options: MigrateOptions = {}): Promise<string> {
  const { schema, directory } = checked(options, '30s')
  const names = await migrationNames(directory)
  const files = await Promise.all(names.map((name) => readFile(join(directory, `${name}.sql`), 'utf8')))
  return [
    'begin;',
    `create schema if not exists "${schema}";`,
    `set local search_path = "${schema}", pg_temp;`,
    ...files.map((text, i) => `\n-- ${names[i]}\n${text}`),
    '-- What `dueq migrate` reads to know what is applied.',
    'create table migrations (id serial primary key, name varchar(255) not null, run_on timestamp not null);',
    ...names.map((name) => `insert into migrations (name, run_on) values ('${name}', now());`),
    'commit;',
    '',
  ].join('\n')
}

// --- internal ---

export type MigrationStatus = {
  readonly applied: readonly string[]
  readonly pending: readonly string[]
  readonly newer: readonly string[]
}

function checked(
  options: MigrateOptions,
  timeout: Duration,
): {
  readonly schema: string
  readonly directory: string
  readonly timeoutMs: number
  readonly log?: (line: string) => void
} {
  knownOptions('migrate', options, ['url', 'schema', 'directory', 'timeout', 'log'])
  for (const [name, type] of [
    ['directory', 'string'],
    ['log', 'function'],
  ] as const)
    if (options[name] !== undefined && typeof options[name] !== type)
      throw new DueqError(
        'option.invalid',
        `Expected \`${name}\` of \`migrate\` to be a ${type}, got ${describe(options[name])}.`,
        { details: { option: name } },
      )
  // From src/ the package is one level up, from dist/esm/ and dist/cjs/ two.
  const places = ['../migrations', '../../migrations'].map((path) => join(import.meta.dirname ?? '.', path))
  return {
    schema: schemaName(options.schema ?? (process.env['DUEQ_SCHEMA'] || 'dueq')),
    directory: options.directory ?? places.find((place) => existsSync(place)) ?? places[1]!,
    timeoutMs: durationMs('timeout', options.timeout ?? timeout, { min: '1s', max: '1d' }),
    log: options.log,
  }
}

async function migrationNames(directory: string): Promise<readonly string[]> {
  const files = await readdir(directory).catch(() => [])
  const names = files.filter((file) => /^\d{4}_.*\.sql$/.test(file)).map((file) => file.slice(0, -4))
  if (names.length > 0) return names.sort()
  throw new DueqError(
    'migration.files_missing',
    `No migrations in ${directory}. Run \`npx dueq migrate\`, or pass \`directory\` where a bundler has moved dueq away from its package.`,
  )
}

const connectWithinMs = 10_000
const lockWithinMs = 60_000
const endWithinMs = 1_000

/** Runs something on a connection of its own, and closes it. At the deadline the connection is cut, whatever hangs in it. */
async function connected<T>(
  options: MigrateOptions,
  timeoutMs: number,
  run: (client: Client) => Promise<T>,
): Promise<T> {
  const { default: pg } = await import('pg')
  const socket = new Socket() // ours, because nothing else cuts a connection that says nothing
  const client = new pg.Client({
    connectionString: databaseUrl(options.url),
    application_name: 'dueq migrate',
    connectionTimeoutMillis: connectWithinMs,
    stream: () => socket,
  })
  client.on('error', () => {}) // the statement under way rejects, and says more
  let late: DueqError | undefined
  let timer = setTimeout(() => {
    late = new DueqError(
      'timeout',
      `Not done within ${timeoutMs} ms, and given up. Run it again: what is applied by then is not applied twice. Give a longer \`timeout\` where a migration needs it.`,
      { isOutcomeUnknown: true },
    )
    socket.destroy()
  }, timeoutMs)
  try {
    await client.connect()
    return await run(client)
  } catch (error) {
    if (late) throw late
    const cause = fromDatabase(error)
    if (cause.code !== 'database.error' && cause.code !== 'option.invalid') throw cause
    throw new DueqError('migration.failed', `Migrating failed, nothing was changed: ${cause.message}`, { cause: error })
  } finally {
    clearTimeout(timer)
    timer = setTimeout(() => socket.destroy(), endWithinMs)
    await client.end().catch(() => {})
    clearTimeout(timer)
  }
}

/** One migrator at a time. The lock number is of the whole database, so it is made from the name of the schema. */
async function lockSchema(client: Client, schema: string): Promise<void> {
  await client.query(`set lock_timeout = ${lockWithinMs}`)
  try {
    const text = 'select pg_catalog.pg_advisory_lock(pg_catalog.hashtextextended($1, 0))'
    await client.query(text, [`dueq:${schema}`])
  } catch (error) {
    if (fromDatabase(error).code !== 'lock.timeout') throw error
    throw new DueqError(
      'lock.timeout',
      `Another migration of schema "${schema}" has been under way for ${lockWithinMs} ms; nothing was changed. Wait for it, or end its session (pg_stat_activity, application_name 'dueq migrate').`,
      { cause: error },
    )
  }
}

/**
 * Runs migrations that may meet open transactions of others. Whoever waits for a table has all that come later waiting
 * behind it, enqueues and claims included: so it waits a second at most, stands aside for one, and tries again.
 */
async function standingAside<T>(client: Client, schema: string, run: () => Promise<T>): Promise<T> {
  await client.query(`set lock_timeout = '1s'`)
  for (const until = performance.now() + lockWithinMs; ; ) {
    try {
      return await run()
    } catch (error) {
      if (fromDatabase(error).code !== 'lock.timeout') throw error
      if (performance.now() >= until)
        throw new DueqError(
          'lock.timeout',
          `Open transactions have held the tables of schema "${schema}" for ${lockWithinMs} ms; nothing was changed. End them (\`dueq doctor\` names those that are old) and migrate again.`,
          { cause: error },
        )
      await new Promise((resolve) => setTimeout(resolve, 1000))
    }
  }
}

async function compare(client: Client, schema: string, known: readonly string[]): Promise<MigrationStatus> {
  const table = await client.query('select to_regclass($1) is not null as found', [`"${schema}".migrations`])
  const done: readonly string[] = table.rows[0].found
    ? (await client.query(`select name from "${schema}".migrations order by id`)).rows.map(
        (row: { name: string }) => row.name,
      )
    : []
  return {
    applied: known.filter((name) => done.includes(name)),
    pending: known.filter((name) => !done.includes(name)),
    newer: done.filter((name) => !known.includes(name)),
  }
}

function newerSchema(schema: string, newer: readonly string[]): DueqError {
  return new DueqError(
    'schema.newer',
    `Schema "${schema}" has migrations that this version of dueq does not know (${newer.join(', ')}). Upgrade the dueq package; nothing was changed.`,
    { details: { schema, newer } },
  )
}

function loggerOf(
  log: (line: string) => void = () => {},
): Record<'debug' | 'info' | 'warn' | 'error', (line: string) => void> {
  return { debug: () => {}, info: log, warn: log, error: () => {} }
}
