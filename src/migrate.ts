// Brings the schema up to date with the migrations of this package. Imported on demand: node-pg-migrate and pg are loaded
// when something is migrated, never by `import 'dueq'`.
//
// Invariants: migrations run in one transaction under an advisory lock of their own schema, so that two migrators at once
// are one after the other, and a migration that fails leaves nothing behind. All of it ends by a deadline. No migrator takes a
// schema back to an older version.
import type { Client } from 'pg'
import { DueqError } from './errors.js'
import { isEngine, isPartOfEngine, type Migrations, ownDirectory, readMigrations } from './migrations.js'
import { inSession, lockSchema, standingAside } from './migrator.js'
import { type Duration, describe, durationMs, knownOptions, schemaName } from './options.js'
import { primaryUrl } from './primary.js'
import { refreshRoles } from './roles.js'

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

/** How a schema compares with this package. Names of migrations; the functions and views together are one, `9999_engine_…`. */
export type MigrationStatus = {
  readonly applied: readonly string[]
  readonly pending: readonly string[]
  /** Applied, but of a newer version of dueq. */
  readonly newer: readonly string[]
}

/**
 * Migrates the schema. Running it again, or twice at once, is safe. A schema that is newer, and that this version works with, is
 * left as it is (`newer` names what this version does not know): rolling a deployment back needs no older schema.
 * Errors: `migration.failed` and `lock.timeout` (nothing was changed), `timeout` (run it again), `schema.newer`,
 * `migration.files_missing`, `database.*`.
 */
export async function migrate(options: MigrateOptions = {}): Promise<Pick<MigrationStatus, 'applied' | 'newer'>> {
  const { schema, directory, timeoutMs, log = () => {} } = checked(options, '5m')
  const own = await readMigrations(directory)
  return inSession(await primaryUrl(options.url), timeoutMs, async (client) => {
    await lockSchema(client, schema)
    const { newer, pending, version } = await compare(client, schema, own)
    const isUsable = version > own.engine.version && generationOf(version) === generationOf(own.engine.version)
    if (newer.length > 0 && !isUsable) throw newerSchema(schema, newer)
    if (newer.length > 0) return { applied: [], newer }
    if (pending.length > 0) await standingAside(client, schema, () => apply(client, schema, own, directory, log))
    // Also where nothing was pending: the migrator before may have died in between.
    await standingAside(client, schema, () => refreshRoles(client, schema))
    return { applied: pending, newer }
  })
}

/** Compares the schema with the migrations of this package. */
export async function migrationStatus(options: MigrateOptions = {}): Promise<MigrationStatus> {
  const { schema, directory, timeoutMs } = checked(options, '30s')
  const own = await readMigrations(directory)
  return inSession(await primaryUrl(options.url), timeoutMs, async (client) => {
    const { version: _, ...status } = await compare(client, schema, own)
    return status
  })
}

/**
 * The plain SQL of all migrations, for teams that bring it in with a migration tool of their own; `after` a numbered migration,
 * the SQL that upgrades a schema which has it. Raises `option.invalid` for another name, `migration.files_missing`.
 */
export async function migrationSql(options: MigrateOptions & { readonly after?: string } = {}): Promise<string> {
  const { schema, directory } = checked(options, '30s', ['after'])
  const { after } = options
  const { numbered, engine } = await readMigrations(directory)
  const names = numbered.map(({ name }) => name)
  if (after !== undefined && !names.includes(after))
    throw new DueqError(
      'option.invalid',
      `Expected \`after\` to be one of ${names.join(', ')}, got ${describe(after)}.`,
      {
        details: { option: 'after' },
      },
    )
  return [
    'begin;',
    ...(after === undefined ? [`create schema if not exists "${schema}";`] : []),
    `set local search_path = "${schema}", pg_temp;`,
    '-- What `dueq migrate` reads to know what is applied.',
    'create table if not exists migrations (id serial primary key, name varchar(255) not null, run_on timestamp not null);',
    ...[...numbered.slice(after === undefined ? 0 : names.indexOf(after) + 1), engine].map(
      ({ name, sql }) => `\n-- ${name}\n${sql}\ninsert into migrations (name, run_on) values ('${name}', now());`,
    ),
    'commit;',
    '',
  ].join('\n')
}

// --- internal ---

function checked(
  options: MigrateOptions,
  timeout: Duration,
  more: readonly string[] = [],
): {
  readonly schema: string
  readonly directory: string
  readonly timeoutMs: number
  readonly log?: (line: string) => void
} {
  knownOptions('migrate', options, ['url', 'schema', 'directory', 'timeout', 'log', ...more])
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
  return {
    schema: schemaName(options.schema ?? (process.env['DUEQ_SCHEMA'] || 'dueq')),
    directory: options.directory ?? ownDirectory(),
    timeoutMs: durationMs('timeout', options.timeout ?? timeout, { min: '1s', max: '1d' }),
    log: options.log,
  }
}

/** Runs what is pending, in one transaction. */
async function apply(
  client: Client,
  schema: string,
  own: Migrations,
  directory: string,
  log: (line: string) => void,
): Promise<void> {
  const { runner } = await import('node-pg-migrate')
  await client.query(`create schema if not exists "${schema}"`)
  await runner({
    dbClient: client,
    dir: directory,
    migrationLoaderStrategies: [{ extensions: ['.sql'], loader: async () => unitsOf(own) }],
    ignorePattern: '.*(?<!\\.sql)$',
    direction: 'up',
    checkOrder: false,
    schema: [schema, 'pg_temp'],
    migrationsTable: 'migrations',
    singleTransaction: true,
    noLock: true,
    logger: { debug: () => {}, info: log, warn: log, error: () => {} },
  })
}

/** What node-pg-migrate takes for migrations. There is no way back: `down` is refused. */
function unitsOf({ numbered, engine }: Migrations) {
  return [...numbered, engine].map(({ name, sql }) => ({
    id: `${name}.sql`,
    filePaths: [],
    actions: { up: (builder: { sql(text: string): void }) => builder.sql(sql), down: false as const },
  }))
}

/** `version`: of the schema, 0 where there is none. */
async function compare(
  client: Client,
  schema: string,
  { numbered, engine }: Migrations,
): Promise<MigrationStatus & { readonly version: number }> {
  const names = numbered.map(({ name }) => name)
  const { rows } = await client.query(
    'select to_regclass($1) is not null as has_table, to_regprocedure($2) is not null as has_version',
    [`"${schema}".migrations`, `"${schema}".schema_version()`],
  )
  const { has_table: hasTable, has_version: hasVersion } = rows[0]
  const done: readonly string[] = hasTable
    ? (await client.query(`select name from "${schema}".migrations order by id`)).rows.map(({ name }) => name)
    : []
  const version: number = hasVersion
    ? (await client.query(`select "${schema}".schema_version() as version`)).rows[0].version
    : 0
  const isNewerEngine = (name: string): boolean => name !== engine.name && version > engine.version
  return {
    applied: done.filter((name) => names.includes(name) || name === engine.name),
    pending: [...names, ...(version > engine.version ? [] : [engine.name])].filter((name) => !done.includes(name)),
    newer: done.filter((name) =>
      isEngine(name) ? isNewerEngine(name) : !names.includes(name) && !isPartOfEngine(name),
    ),
    version,
  }
}

function generationOf(version: number): number {
  return Math.floor(version / 100)
}

function newerSchema(schema: string, newer: readonly string[]): DueqError {
  return new DueqError(
    'schema.newer',
    `Schema "${schema}" has migrations that this version of dueq does not know (${newer.join(', ')}). Upgrade the dueq package; nothing was changed.`,
    { details: { schema, newer } },
  )
}
