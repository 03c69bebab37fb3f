// Brings the schema up to date with the migrations of this package. Imported on demand: node-pg-migrate and pg are loaded
// when something is migrated, never by `import 'dueq'`.
//
// Invariant: migrations run in one transaction under an advisory lock of their own schema, so that two migrators at once
// are one after the other, and a migration that fails leaves nothing behind.
import { existsSync } from 'node:fs'
import { readdir, readFile } from 'node:fs/promises'
import { join } from 'node:path'
import type { Client } from 'pg'
import { DueqError, fromDatabase } from './errors.js'
import { databaseUrl, knownOptions, schemaName } from './options.js'

/** What `migrate`, `migrationStatus` and `migrationSql` take. */
export type MigrateOptions = {
  /** Connection URL. @default `DUEQ_DATABASE_URL`, then `DATABASE_URL` */
  readonly url?: string
  /** Schema that holds the tables and functions, created where missing. @default `DUEQ_SCHEMA`, then `'dueq'` */
  readonly schema?: string
  /** Where the `.sql` files are. Needed only where a bundler has moved this module away from its package. */
  readonly directory?: string
  /** Says what is done, line by line. @default silent */
  readonly log?: (line: string) => void
}

/**
 * Migrates the schema. Running it again, or twice at once, is safe.
 * Errors: `migration.failed` (nothing was changed), `schema.newer`, `migration.files_missing`, `database.*`.
 */
export async function migrate(options: MigrateOptions = {}): Promise<{ readonly applied: readonly string[] }> {
  const { schema, directory, log } = checked(options)
  const known = await migrationNames(directory)
  return connected(options, async (client) => {
    const { runner } = await import('node-pg-migrate')
    await client.query(`set lock_timeout = '60s'`)
    // The lock number is of the whole database, so it is made from the name of the schema.
    await client.query('select pg_advisory_lock(hashtextextended($1, 0))', [`dueq:${schema}`])
    const { newer } = await compare(client, schema, known)
    if (newer.length > 0) throw newerSchema(schema, newer)
    await client.query(`create schema if not exists "${schema}"`)
    const applied = await runner({
      dbClient: client,
      dir: directory,
      ignorePattern: '.*(?<!\\.sql)$',
      direction: 'up',
      schema: [schema, 'pg_temp'],
      migrationsTable: 'migrations',
      singleTransaction: true,
      noLock: true,
      logger: loggerOf(log),
    })
    return { applied: applied.map(({ name }) => name) }
  })
}

/** Compares the schema with the migrations of this package. `newer`: applied, but unknown to this package. */
export async function migrationStatus(options: MigrateOptions = {}): Promise<MigrationStatus> {
  const { schema, directory } = checked(options)
  const known = await migrationNames(directory)
  return connected(options, (client) => compare(client, schema, known))
}

/** The plain SQL of all migrations, for teams that bring it in with a migration tool of their own. */
export async function migrationSql(options: MigrateOptions = {}): Promise<string> {
  const { schema, directory } = checked(options)
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

function checked(options: MigrateOptions): {
  readonly schema: string
  readonly directory: string
  readonly log?: (line: string) => void
} {
  knownOptions('migrate', options, ['url', 'schema', 'directory', 'log'])
  // From src/ the package is one level up, from dist/esm/ and dist/cjs/ two.
  const places = ['../migrations', '../../migrations'].map((path) => join(import.meta.dirname ?? '.', path))
  return {
    schema: schemaName(options.schema ?? (process.env['DUEQ_SCHEMA'] || 'dueq')),
    directory: options.directory ?? places.find((place) => existsSync(place)) ?? places[1]!,
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

/** Runs something on a connection of its own, and closes it. */
async function connected<T>(options: MigrateOptions, run: (client: Client) => Promise<T>): Promise<T> {
  const { default: pg } = await import('pg')
  const client = new pg.Client({
    connectionString: options.url ?? databaseUrl(),
    application_name: 'dueq migrate',
    connectionTimeoutMillis: 10_000,
  })
  client.on('error', () => {}) // the statement under way rejects, and says more
  try {
    await client.connect()
    return await run(client)
  } catch (error) {
    const cause = fromDatabase(error)
    if (cause.code !== 'database.error' && cause.code !== 'option.invalid') throw cause
    throw new DueqError('migration.failed', `Migrating failed, nothing was changed: ${cause.message}`, { cause: error })
  } finally {
    await client.end().catch(() => {})
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
