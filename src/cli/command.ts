// What all commands share: the options that say where dueq is, a session on it, and an end that is the same for each:
// connections closed, errors printed, an exit code set.
import { type Command, InvalidArgumentError } from 'commander'
import { connect, type Dueq } from '../connect.js'
import { sourceOf } from '../connect-options.js'
import type { Query } from '../driver.js'
import { DueqError } from '../errors.js'
import type { DueqEvent } from '../events.js'
import { databaseUrl, messageId, queueName, schemaName } from '../options.js'
import { openPool } from '../pool.js'
import { checkingSchema } from '../schema.js'
import { type Statements, statements as statementsOf } from '../statements.js'
import type { StoredSettings } from '../statements-operate.js'
import { fail } from './exit-codes.js'

/** The options of every command. */
export type SharedOptions = {
  readonly url?: string
  readonly listenUrl?: string
  readonly schema?: string
  readonly json?: boolean
}

/** A connected dueq, and the statements for what only operators read. */
export type Session = {
  readonly dueq: Dueq
  readonly query: Query
  readonly statements: Statements
  readonly schema: string
  readonly isJson: boolean
}

/** Adds the options that every command has. */
export function shared(command: Command): Command {
  return command
    .option('--url <url>', 'connection URL (default: DUEQ_DATABASE_URL, then DATABASE_URL)')
    .option('--listen-url <url>', 'direct connection for LISTEN (default: DUEQ_LISTEN_URL, then the URL)')
    .option('--schema <name>', 'schema of dueq (default: DUEQ_SCHEMA, then dueq)')
    .option('--json', 'print JSON')
}

/** Runs a command that needs no session. */
export async function run(options: SharedOptions, work: () => Promise<void>): Promise<void> {
  try {
    await work()
  } catch (error) {
    fail(error, options.json === true)
  }
}

/** Runs a command on a session, and closes it whatever happens. */
export function runOn(
  options: SharedOptions,
  work: (session: Session) => Promise<void>,
  onEvent: (event: DueqEvent) => void = () => {},
): Promise<void> {
  return run(options, async () => {
    // Unprepared, so that the CLI works through a pooler in transaction mode without being told.
    const source = sourceOf({ url: options.url, prepare: false })
    const listenUrl = databaseUrl(options.listenUrl ?? (process.env['DUEQ_LISTEN_URL'] || options.url))
    const schema = schemaOf(options)
    const pool = openPool(source, 30_000)
    const statements = statementsOf(schema)
    const dueq = connect({ query: pool.query, schema, listenUrl, onEvent })
    const query = checkingSchema(pool.query, statements, schema)(pool.query)
    try {
      await work({ dueq, query, statements, schema, isJson: options.json === true })
    } finally {
      await dueq.close()
      await pool.close()
    }
  })
}

/** The name of the schema that a command is about. */
export function schemaOf({ schema }: SharedOptions): string {
  return schemaName(schema ?? (process.env['DUEQ_SCHEMA'] || 'dueq'))
}

/** The stored settings of a queue; raises `queue.unknown`. */
export async function storedQueue({ query, statements }: Session, name: string): Promise<StoredSettings> {
  const [stored] = await statements.settings(query, queueName(name))
  if (stored) return stored
  throw new DueqError('queue.unknown', `Queue "${name}" does not exist. Create it: dueq queue create ${name}`)
}

/** Reads an option or argument as an id. */
export function idOption(text: string): string {
  try {
    return messageId(text)
  } catch {
    throw new InvalidArgumentError('Expected an id, which is a number.')
  }
}

/** Reads an option as a whole number; its range is checked where it is used. */
export function numberOption(text: string): number {
  if (/^-?\d{1,15}$/.test(text)) return Number(text)
  throw new InvalidArgumentError('Expected a whole number.')
}

/** Reads an option as a duration: digits alone are milliseconds. */
export function durationOption(text: string): number | string {
  return /^\d{1,15}$/.test(text) ? Number(text) : text
}
