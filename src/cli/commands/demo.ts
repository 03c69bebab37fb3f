// dueq demo: consumer processes, a few thousand messages due over some seconds, a kill -9 half-way, and the account of it.
import type { Command } from 'commander'
import { DueqError } from '../../errors.js'
import { wholeNumber } from '../../options.js'
import { numberOption, run, type SharedOptions } from '../command.js'
import { runDemo } from '../demo-run.js'
import { drawSummary, summarizeDemo } from '../demo-summary.js'
import { createDemoView } from '../demo-view.js'
import { print, printJson } from '../output.js'
import { optionalUrl, withInterrupt } from '../run.js'
import { createScreen } from '../screen.js'

type Options = SharedOptions & { readonly messages: number; readonly seconds: number; readonly consumers: number }

/** With fewer a second, handlers would have to be implausibly slow for each consumer to hold ten messages. */
const leastPerSecond = 40

export function demoCommand(program: Command): void {
  program
    .command('demo')
    .description('watch consumers work, and one of them crash; without a connection on a PostgreSQL of its own')
    .option('--messages <count>', 'how many messages, 100 to 100000', numberOption, 3000)
    .option('--seconds <count>', 'over how long they fall due, 3 to 3600', numberOption, 20)
    .option('--consumers <count>', 'how many processes consume, 2 to 16', numberOption, 3)
    .option('--url <url>', 'connection URL (default: DUEQ_DATABASE_URL, then DATABASE_URL, then an embedded server)')
    .option('--json', 'print the summary as JSON, and nothing else')
    .action((options: Options) => run(options, () => demo(options)))
}

// --- internal ---

async function demo(options: Options): Promise<void> {
  const messages = wholeNumber('messages', options.messages, 100, 100_000)
  const seconds = wholeNumber('seconds', options.seconds, 3, 3600)
  const consumers = wholeNumber('consumers', options.consumers, 2, 16)
  if (messages / seconds < leastPerSecond) {
    throw new DueqError(
      'option.invalid',
      `Expected at least ${leastPerSecond} messages a second, got ${messages} over ${seconds} s.`,
    )
  }
  const screen = createScreen()
  const quiet = { everyMs: 250, note: () => {}, progress: () => {} }
  const view = options.json ? quiet : createDemoView(screen, { messages, seconds })
  await withInterrupt(async (signal) => {
    const result = await runDemo({ messages, seconds, consumers, url: optionalUrl(options.url), signal, view })
    const summary = summarizeDemo(result, messages)
    if (options.json) printJson(summary)
    else print(`\n${drawSummary(summary, result.lateness.values(), screen)}`)
    if (!summary.ok) process.exitCode = 1
  })
}
