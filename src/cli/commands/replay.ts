// dueq replay: recorded arrivals through a queue, faster or slower than they came, and how late each was delivered.
import type { Command } from 'commander'
import { DueqError } from '../../errors.js'
import { durationMs, oneOf, wholeNumber } from '../../options.js'
import { ArrivalsError } from '../arrivals.js'
import { durationOption, numberOption, run, type SharedOptions } from '../command.js'
import { histogram } from '../lateness.js'
import { print, printJson } from '../output.js'
import { type ReplayProgress, type ReplayResult, runReplay } from '../replay-run.js'
import { optionalUrl, withInterrupt } from '../run.js'
import { createScreen, type Screen } from '../screen.js'
import { formatMs } from '../table.js'

type Options = SharedOptions & {
  readonly in?: number | string
  readonly speed?: string
  readonly mode: string
  readonly consumers: number
  readonly format?: string
  readonly keep?: boolean
}

export function replayCommand(program: Command): void {
  program
    .command('replay <file>')
    .description('replay recorded arrivals (SWF, NDJSON or CSV, gzip too) and measure how late each was delivered')
    .option('--in <duration>', 'compress (or stretch) the whole recording to this long', durationOption)
    .option('--speed <times>', 'so many times as fast as recorded')
    .option('--mode <mode>', 'ahead: enqueue all with their due times; live: enqueue each at its time', 'ahead')
    .option('--consumers <count>', 'how many processes consume, 1 to 16', numberOption, 4)
    .option('--format <format>', 'swf, ndjson or csv (default: by the name or the beginning of the file)')
    .option('--keep', 'leave the schema of the run in the database')
    .option('--url <url>', 'connection URL (default: DUEQ_DATABASE_URL, then DATABASE_URL, then an embedded server)')
    .option('--json', 'print the result as JSON, and nothing else')
    .action((file: string, options: Options) => run(options, () => replay(file, options)))
}

// --- internal ---

async function replay(file: string, options: Options): Promise<void> {
  const scale = scaleOf(options)
  const mode = oneOf('mode', options.mode, ['ahead', 'live'])
  const format = options.format === undefined ? undefined : oneOf('format', options.format, ['swf', 'ndjson', 'csv'])
  const consumers = wholeNumber('consumers', options.consumers, 1, 16)
  const url = optionalUrl(options.url)
  const isKept = options.keep === true
  if (isKept && url === undefined) {
    throw new DueqError('usage', 'An embedded server is gone after the run, so there is nothing to --keep. Give --url.')
  }
  const screen = createScreen(process.stderr)
  const isQuiet = options.json === true
  const onNote = (text: string): void => {
    if (!isQuiet) screen.print(screen.paint.dim(text))
  }
  const onProgress = isQuiet ? () => {} : createProgress(screen)
  await withInterrupt(async (signal) => {
    const plan = { file, format, scale, mode, consumers, url, isKept, signal, onNote, onProgress }
    const result = await runReplay(plan).catch((error: unknown) => {
      throw fileError(error)
    })
    const summary = summarize(result)
    if (options.json) printJson(isKept ? { ...summary, schema: result.schema } : summary)
    else draw(summary, result, isKept)
    if (!isFlawless(result)) process.exitCode = 1
  })
}

function scaleOf(options: Options): { readonly inMs: number } | { readonly speed: number } {
  if ((options.in === undefined) === (options.speed === undefined)) {
    throw new DueqError('usage', 'Give one of --in (such as 60s) and --speed (such as 100).')
  }
  if (options.in !== undefined) return { inMs: durationMs('in', options.in, { min: '1ms', max: '30d' }) }
  const speed = Number(options.speed)
  if (speed > 0 && Number.isFinite(speed)) return { speed }
  throw new DueqError('option.invalid', `Expected --speed to be a number above 0, got \`${options.speed}\`.`)
}

/** A file that cannot be read is told like every other error of the CLI. */
function fileError(error: unknown): unknown {
  if (error instanceof ArrivalsError) return new DueqError('line.invalid', error.message, { cause: error })
  const isOfSystem = error instanceof Error && 'syscall' in error && 'path' in error
  return isOfSystem ? new DueqError('file.unreadable', error.message, { cause: error }) : error
}

function summarize({ report, lateness }: ReplayResult) {
  const { p50, p95, p99, max } = lateness.summary()
  const { enqueued, delivered, early, lost, duplicates } = report
  return { enqueued, delivered, early, lost, duplicates, lateness: { p50, p95, p99, max } }
}

function isFlawless({ report, leftOver }: ReplayResult): boolean {
  return report.ok && report.duplicates === 0 && report.delivered === report.enqueued && leftOver === 0
}

function draw(summary: ReturnType<typeof summarize>, result: ReplayResult, isKept: boolean): void {
  const { enqueued, delivered, early, lost, duplicates, lateness } = summary
  print(`enqueued ${enqueued}   delivered ${delivered}   early ${early}   lost ${lost}   duplicates ${duplicates}`)
  print(
    `lateness  p50 ${formatMs(lateness.p50)}   p95 ${formatMs(lateness.p95)}   p99 ${formatMs(lateness.p99)}   max ${formatMs(lateness.max)}`,
  )
  print(`\n${histogram(result.lateness.values(), { width: 60 })}`)
  for (const { rule, message } of result.report.problems) print(`${rule}: ${message}`)
  if (result.leftOver > 0) print(`${result.leftOver} messages were left`)
  if (isKept) print(`\nkept in schema ${result.schema}`)
}

/** A bar on a terminal, a line every ten seconds elsewhere. */
function createProgress({ isLive, frame, print }: Screen): (progress: ReplayProgress) => void {
  let nextLineMs = 0
  return ({ elapsedMs, spanMs, enqueued, delivered, total }) => {
    const seconds = `${(elapsedMs / 1000).toFixed(0)} of ${(spanMs / 1000).toFixed(0)} s`
    const text = `${seconds.padStart(14)}  enqueued ${enqueued}  delivered ${delivered} of ${total}`
    if (isLive) {
      const filled = Math.round((total === 0 ? 1 : delivered / total) * 40)
      return frame([`  ${'█'.repeat(filled)}${'░'.repeat(40 - filled)}${text}`])
    }
    if (elapsedMs < nextLineMs) return
    nextLineMs = elapsedMs + 10_000
    print(text)
  }
}
