// What the exit code of `dueq` says, and how an error is printed. Both are read by scripts: they stay as they are.
//
// Invariants: an error is one line on stderr, or one JSON object on stdout with `--json`; no password of a URL is in it.
import { CommanderError } from 'commander'
import { type DueqErrorCode, isDueqError } from '../errors.js'
import { printJson } from './output.js'
import { safeText } from './table.js'

/** Below the help of `dueq`. */
export const exitCodesHelp = `
Exit codes:
  0  done
  1  the command failed: refused, or an error of the database
  2  wrong usage or bad input; nothing was done (bulk enqueue: no further line)
  3  there is no such queue or message
  4  no connection to the database: unreachable, credentials, no such database
  5  the schema of dueq is missing, older or newer than this dueq (see: dueq migrate status)

Environment:
  DUEQ_DATABASE_URL  connection URL, where --url is not given; then DATABASE_URL
  DUEQ_LISTEN_URL    direct connection for LISTEN, where a pooler sits between
  DUEQ_SCHEMA        schema, where --schema is not given (default: dueq)

Durations are milliseconds or text like 250ms, 30s, 10m, 2h, 7d.`

const exitCodeOf: Partial<Record<DueqErrorCode, number>> = {
  usage: 2,
  'option.invalid': 2,
  'option.unknown': 2,
  'duration.invalid': 2,
  'instant.invalid': 2,
  'delay.and_at': 2,
  'queue.invalid_name': 2,
  'payload.not_json': 2,
  'payload.too_large': 2,
  'payload.rejected': 2,
  'headers.invalid': 2,
  'connection.invalid': 2,
  'line.invalid': 2,
  'file.unreadable': 2,
  'confirmation.required': 2,
  'queue.unknown': 3,
  'message.not_found': 3,
  'database.unreachable': 4,
  'database.credentials': 4,
  'database.not_found': 4,
  'schema.missing': 5,
  'schema.older': 5,
  'schema.newer': 5,
}

/** The exit code of an error. A bulk enqueue that stopped half-way has the exit code of what stopped it. */
export function exitCode(error: unknown): number {
  if (error instanceof CommanderError) return error.exitCode === 0 ? 0 : 2
  if (!isDueqError(error)) return 1
  if (error.code === 'enqueue.incomplete') return exitCode(error.cause)
  return exitCodeOf[error.code] ?? 1
}

/** Prints an error, and leaves its exit code to the process. */
export function fail(error: unknown, isJson: boolean): void {
  process.exitCode = exitCode(error)
  if (error instanceof CommanderError) failUsage(error, isJson)
  else if (isDueqError(error)) report(error.code, error.message, error.details, isJson)
  else report('unexpected', error instanceof Error ? (error.stack ?? error.message) : String(error), {}, isJson)
}

/** Hides the password of every URL in a text, other than the word "password" of an example. */
export function withoutPasswords(text: string): string {
  return text.replace(/(\w+:\/\/[^\s:@/]*):(?!password@)\S*@/g, '$1:***@')
}

// --- internal ---

/** Commander throws for help and version as well, which it has printed by then. */
function failUsage(error: CommanderError, isJson: boolean): void {
  if (error.exitCode === 0 || error.code === 'commander.help') return
  const [first = '', ...more] = error.message.replace(/^error: /, '').split('\n')
  report('usage', [first, ...more.map((line) => line.replace(/^\((.*)\)$/, '$1'))].join('. '), {}, isJson)
}

function report(code: string, text: string, details: Readonly<Record<string, unknown>>, isJson: boolean): void {
  const message = withoutPasswords(text)
  if (isJson) printJson({ error: { code, message, ...resumeOf(details) } })
  else process.stderr.write(`dueq: ${safeText(message)} [${code}]\n`)
}

/** Of the details, what a script goes on with. */
function resumeOf({ committedLines, fromLine }: Readonly<Record<string, unknown>>): Record<string, unknown> {
  return fromLine === undefined ? {} : { committedLines, fromLine }
}
