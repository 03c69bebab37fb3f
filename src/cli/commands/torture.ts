// dueq torture: a load on a queue of its own, faults on a schedule drawn from a seed, and the log checker as the judge.
import { randomInt } from 'node:crypto'
import type { Command } from 'commander'
import { DueqError } from '../../errors.js'
import { durationMs, schemaName, wholeNumber } from '../../options.js'
import { durationOption, numberOption, run, type SharedOptions } from '../command.js'
import { print, printJson } from '../output.js'
import { optionalUrl } from '../run.js'
import { createScreen } from '../screen.js'
import { namedFaults } from '../torture/faults.js'
import { drawTorture, summarizeTorture } from '../torture/report.js'
import { runTorture, type TortureOptions } from '../torture/run.js'
import { createTortureView } from '../torture/view.js'

type Options = SharedOptions & {
  readonly embedded?: boolean
  readonly for: number | string
  readonly messages?: number
  readonly seed?: number
  readonly faults: string
  readonly journals?: string
  readonly drain: number | string
  readonly rate: number
  readonly producers: number
  readonly consumers: number
}

const help = `
Producers and consumers, a process each, work on a queue that only they use, while they are killed, stopped, cut off and
lied to. All of them write down what they do; at the end that is held against what dueq promises. It uses processor and
disk of the server; it touches no queue of yours, ends no session but its own, and removes what it made.

The seed decides which fault comes when and to whom. It does not decide how the processes race: the same seed may pass
the next time. docs/torture.md says what each fault and each rule is.

Exit code 1 where a rule was broken, 130 after Ctrl-C (which ends the run early and judges it).`

export function tortureCommand(program: Command): void {
  program
    .command('torture')
    .description('break whatever can break around a queue of its own, and check that nothing is lost')
    .option('--for <duration>', 'how long faults and load last, 1s to 24h', durationOption, '60s')
    .option('--messages <count>', 'ends after about so many, 1 to 100000000', numberOption)
    .option('--seed <number>', 'of the schedule, 0 to 2147483647 (default: a new one)', numberOption)
    .option('--faults <names>', 'some of them, separated by commas; all; none', 'all')
    .option(
      '--drain <duration>',
      'how long the queue may take to become empty at the end, 1s to 1h',
      durationOption,
      '30s',
    )
    .option('--rate <count>', 'messages a second of all producers, 1 to 100000', numberOption, 1000)
    .option('--producers <count>', 'processes that enqueue, 1 to 16', numberOption, 2)
    .option('--consumers <count>', 'processes that consume, 1 to 16', numberOption, 3)
    .option('--url <url>', 'connection URL (default: DUEQ_DATABASE_URL, then DATABASE_URL, then an embedded server)')
    .option('--embedded', 'on an embedded server, whatever the environment says')
    .option('--listen-url <url>', 'direct connection for LISTEN (default: DUEQ_LISTEN_URL, then the URL)')
    .option('--journals <directory>', 'keep the journals there (default: only where a rule was broken)')
    .option('--schema <name>', 'a schema of dueq to make a scratch queue in (default: a schema made for the run)')
    .option('--json', 'print the result as JSON, and nothing else')
    .addHelpText('after', help)
    .action((options: Options) => run(options, () => torture(options)))
}

// --- internal ---

async function torture(options: Options): Promise<void> {
  const isQuiet = options.json === true
  const settings = settingsOf(options)
  const { controller, release } = interruptible()
  const view = createTortureView(isQuiet ? undefined : createScreen(process.stderr), settings)
  try {
    const result = await runTorture({ ...settings, signal: controller.signal, view })
    view.clear()
    const summary = summarizeTorture(result, settings)
    if (isQuiet) printJson(summary)
    else print(drawTorture(summary, createScreen(), repeatOf(options, settings.seed)))
    if (!summary.ok) process.exitCode = 1
    else if (result.isInterrupted) process.exitCode = 130
  } finally {
    release()
  }
}

function settingsOf(options: Options): Omit<TortureOptions, 'signal' | 'view'> {
  if (options.embedded && options.url !== undefined) throw new DueqError('usage', 'Give one of --embedded and --url.')
  const url = options.embedded ? undefined : optionalUrl(options.url)
  if (url === undefined && options.schema !== undefined)
    throw new DueqError('usage', 'An embedded server has no schema to work in. Give --url with --schema.')
  const { messages } = options
  return {
    target: { url, schema: options.schema === undefined ? undefined : schemaName(options.schema) },
    listenUrl: url === undefined ? undefined : (options.listenUrl ?? (process.env['DUEQ_LISTEN_URL'] || undefined)),
    seed: wholeNumber('seed', options.seed ?? randomInt(2_147_483_647), 0, 2_147_483_647),
    forMs: durationMs('for', options.for, { min: '1s', max: '1d' }),
    drainMs: durationMs('drain', options.drain, { min: '1s', max: '1h' }),
    messages: messages === undefined ? undefined : wholeNumber('messages', messages, 1, 100_000_000),
    rate: wholeNumber('rate', options.rate, 1, 100_000),
    producers: wholeNumber('producers', options.producers, 1, 16),
    consumers: wholeNumber('consumers', options.consumers, 1, 16),
    faults: namedFaults(options.faults),
    journals: options.journals,
  }
}

/** The same command with the seed of this run; where the database is, is left to the environment. */
function repeatOf({ for: duration, faults, producers, consumers, rate }: Options, seed: number): string {
  const chosen = faults === 'all' ? '' : ` --faults ${JSON.stringify(faults)}`
  return `dueq torture --seed ${seed} --for ${duration} --producers ${producers} --consumers ${consumers} --rate ${rate}${chosen}`
}

/** The first Ctrl-C ends the run early; it is judged, and cleaned up, in any case. */
function interruptible(): { readonly controller: AbortController; release(): void } {
  const controller = new AbortController()
  const interrupt = (): void => controller.abort()
  const signals = ['SIGINT', 'SIGTERM', 'SIGHUP'] as const
  for (const name of signals) process.on(name, interrupt)
  return {
    controller,
    release() {
      for (const name of signals) process.off(name, interrupt)
    },
  }
}
