// dueq migrate: creates the schema of dueq, or brings it up to date.
import { Argument, type Command } from 'commander'
import { DueqError } from '../../errors.js'
import { migrate, migrationSql, migrationStatus } from '../../migrate.js'
import { type Duration, schemaName } from '../../options.js'
import { durationOption, run, type SharedOptions, shared } from '../command.js'
import { count, print, printJson, say, tableOr } from '../output.js'

type Options = SharedOptions & {
  readonly dryRun?: boolean
  readonly sql?: boolean
  readonly after?: string
  readonly timeout?: Duration
}

export function migrateCommand(program: Command): void {
  const command = program
    .command('migrate')
    .description('create the schema of dueq, or bring it up to date; `status` exits with 5 where it is not')
    .addArgument(new Argument('[action]', 'what to do').choices(['up', 'status']).default('up'))
    .option('--dry-run', 'only say what would be applied')
    .option(
      '--timeout <duration>',
      'how long it may take, waits included (default: 5m, for status 30s)',
      durationOption,
    )
    .option('--sql', 'print the SQL of all migrations, for a migration tool of your own; connects to nothing')
    .option('--after <migration>', 'with --sql: only what upgrades a schema that has this numbered migration')
  shared(command).action((action: 'up' | 'status', options: Options) =>
    run(options, async () => {
      if (options.after !== undefined && !options.sql)
        throw new DueqError('usage', '`--after` goes with `--sql`: `dueq migrate` itself knows what is applied.')
      if (options.sql) await printSql(options)
      else if (action === 'status') await printStatus(options)
      else if (options.dryRun) await printPending(options)
      else await up(options)
    }),
  )
}

// --- internal ---

async function up({ url, schema, timeout, json }: Options): Promise<void> {
  const { applied, newer } = await migrate({ url, schema, timeout })
  if (json) printJson({ schema: named(schema), applied, newer })
  else if (newer.length > 0)
    print(`Schema "${named(schema)}" is newer than this version of dueq, which works with it: nothing to do.`)
  else if (applied.length === 0) print(`Schema "${named(schema)}" is up to date.`)
  else print([`Schema "${named(schema)}": applied ${count(applied.length, 'migration')}.`, ...applied].join('\n'))
}

async function printPending({ url, schema, timeout, json }: Options): Promise<void> {
  const { pending, newer } = await migrationStatus({ url, schema, timeout })
  if (newer.length > 0) throw newerSchema(schema)
  if (json) printJson({ schema: named(schema), pending })
  else if (pending.length === 0) print(`Schema "${named(schema)}" is up to date.`)
  else
    print([`Schema "${named(schema)}": ${count(pending.length, 'migration')} would be applied.`, ...pending].join('\n'))
}

async function printStatus({ url, schema, timeout, json }: Options): Promise<void> {
  const status = await migrationStatus({ url, schema, timeout })
  const rows = [
    ...status.applied.map((name) => [name, 'applied']),
    ...status.pending.map((name) => [name, 'pending']),
    ...status.newer.map((name) => [name, 'unknown to this version of dueq']),
  ]
  if (json) printJson({ schema: named(schema), ...status })
  else print(tableOr('No migrations.', ['migration', 'state'], rows))
  if (status.pending.length === 0 && status.newer.length === 0) return
  process.exitCode = 5
  say(status.newer.length > 0 ? newerSchema(schema).message : 'The schema is not up to date. Run: dueq migrate')
}

async function printSql({ schema, after, json }: Options): Promise<void> {
  const sql = await migrationSql({ schema, after })
  if (json) printJson({ schema: named(schema), sql })
  else process.stdout.write(sql)
}

function newerSchema(schema: string | undefined): DueqError {
  return new DueqError(
    'schema.newer',
    `Schema "${named(schema)}" has migrations that this version of dueq does not know. Upgrade the dueq package.`,
  )
}

function named(schema: string | undefined): string {
  return schemaName(schema ?? (process.env['DUEQ_SCHEMA'] || 'dueq'))
}
