// dueq bench: what this database does with dueq, in figures, beside what it does without.
import type { Command } from 'commander'
import { DueqError } from '../../errors.js'
import { closest, durationMs, schemaName, wholeNumber } from '../../options.js'
import { reportOf, summaryOf } from '../bench-report.js'
import { type BenchOptions, type BenchProgress, runBench, type ScenarioName, scenarioNames } from '../bench-run.js'
import { durationOption, numberOption, run, type SharedOptions } from '../command.js'
import { print, printJson } from '../output.js'
import { optionalUrl, withInterrupt } from '../run.js'
import { createScreen, type Screen } from '../screen.js'

type Options = SharedOptions & {
  readonly scenarios: string
  readonly messages: number
  readonly duration: number | string
  readonly rounds: number
  readonly concurrency: number
  readonly connections: number
  readonly payloadBytes: number
  readonly processes: number
}

const help = `
It writes load: for about 40 seconds as much as dueq can through a few connections, which whatever else uses that server
will feel. It touches no queue but its own, which it removes, and leaves dead rows for autovacuum. Where there is a schema
of dueq it measures there, else in a schema of its own; without a URL on an embedded server.

Scenarios: single (enqueues by 1, 32 and 256 callers), bulk (enqueues of 1000), drain (a handler that does nothing),
latency (from enqueue to the handler of an idle consumer), lateness (of delayed messages).`

/** The most that may be in the database at once: a slip in an option must not fill a disk. */
const mostBytes = 2_000_000_000

export function benchCommand(program: Command): void {
  program
    .command('bench')
    .description('measure dueq on your database (this writes load), in queues of its own that it removes')
    .option('--scenarios <names>', 'some of them, separated by commas', scenarioNames.join())
    .option('--messages <count>', 'at most so many at once, 100 to 1000000', numberOption, 20_000)
    .option('--duration <duration>', 'of each timed scenario in each round, 200ms to 5m', durationOption, '3s')
    .option('--rounds <count>', 'how often everything is measured, 1 to 100', numberOption, 3)
    .option('--concurrency <count>', 'handlers at once in each process, 1 to 10000', numberOption, 10)
    .option('--connections <count>', 'of each process, and of the bare statements, 1 to 100', numberOption, 4)
    .option('--payload-bytes <count>', 'JSON of each message, 16 to 1000000', numberOption, 100)
    .option('--processes <count>', 'also drain with so many, 1 to 16', numberOption, 2)
    .option('--url <url>', 'connection URL (default: DUEQ_DATABASE_URL, then DATABASE_URL, then an embedded server)')
    .option('--listen-url <url>', 'direct connection for LISTEN (default: DUEQ_LISTEN_URL, then the URL)')
    .option('--schema <name>', 'schema of dueq to measure in (default: DUEQ_SCHEMA, then dueq, then one of its own)')
    .option('--json', 'print the result as JSON, and nothing else')
    .addHelpText('after', help)
    .action((options: Options) => run(options, () => bench(options)))
}

// --- internal ---

async function bench(options: Options): Promise<void> {
  const isQuiet = options.json === true
  const screen = createScreen(process.stderr)
  const onNote = (text: string): void => {
    if (!isQuiet) screen.print(screen.paint.dim(text))
  }
  const onProgress = isQuiet ? () => {} : createProgress(screen)
  const settings = { ...settingsOf(options), target: targetOf(options) }
  await withInterrupt(async (signal) => {
    const result = await runBench({ ...settings, signal, onNote, onProgress }).finally(() => screen.frame([]))
    const summary = summaryOf(result, settings)
    if (isQuiet) printJson(summary)
    else print(reportOf(summary, createScreen(), Math.min(Math.max(process.stdout.columns ?? 80, 40), 120)))
    if (!summary.ok) process.exitCode = 1
  })
}

function settingsOf(options: Options): Omit<BenchOptions, 'target' | 'signal' | 'onNote' | 'onProgress'> {
  const messages = wholeNumber('messages', options.messages, 100, 1_000_000)
  const payloadBytes = wholeNumber('payload-bytes', options.payloadBytes, 16, 1_000_000)
  if (messages * payloadBytes > mostBytes)
    throw new DueqError(
      'option.invalid',
      `${messages} messages of ${payloadBytes} bytes are more than ${mostBytes / 1e9} GB at once. Give fewer --messages.`,
    )
  return {
    scenarios: scenariosOf(options.scenarios),
    messages,
    payloadBytes,
    durationMs: durationMs('duration', options.duration, { min: '200ms', max: '5m' }),
    rounds: wholeNumber('rounds', options.rounds, 1, 100),
    concurrency: wholeNumber('concurrency', options.concurrency, 1, 10_000),
    connections: wholeNumber('connections', options.connections, 1, 100),
    processes: wholeNumber('processes', options.processes, 1, 16),
  }
}

/** In the order in which they are measured, whatever order they were given in. */
function scenariosOf(text: string): readonly ScenarioName[] {
  const given = text.split(',').map((word) => word.trim())
  const unknown = given.find((word) => !scenarioNames.includes(word as ScenarioName))
  if (unknown === undefined) return scenarioNames.filter((name) => given.includes(name))
  const meant = closest(unknown, scenarioNames)
  throw new DueqError(
    'option.invalid',
    `Unknown scenario \`${unknown.slice(0, 100)}\`${meant ? `, did you mean \`${meant}\`?` : `. There are ${scenarioNames.join(', ')}.`}`,
    { details: { option: 'scenarios' } },
  )
}

function targetOf(options: Options): BenchOptions['target'] {
  const url = optionalUrl(options.url)
  if (url === undefined && options.schema !== undefined)
    throw new DueqError('usage', 'An embedded server has no schema to measure in. Give --url with --schema.')
  const named = options.schema ?? (process.env['DUEQ_SCHEMA'] || undefined)
  return {
    url,
    listenUrl: url === undefined ? undefined : (options.listenUrl ?? (process.env['DUEQ_LISTEN_URL'] || undefined)),
    schema: url === undefined || named === undefined ? undefined : schemaName(named),
  }
}

/** A bar on a terminal, a line for each round elsewhere. */
function createProgress({ isLive, frame, print }: Screen): (progress: BenchProgress) => void {
  let round = ''
  return ({ done, total, text }) => {
    if (isLive) {
      const filled = Math.round((done / total) * 30)
      return frame([`  ${'█'.repeat(filled)}${'░'.repeat(30 - filled)}  ${text}`])
    }
    const [heading = ''] = text.split(':')
    if (heading !== round) print(heading)
    round = heading
  }
}
