// dueq enqueue: one message from the command line, or many from a file.
import { type Command, Option } from 'commander'
import { DueqError } from '../../errors.js'
import { type Duration, describe, wholeNumber } from '../../options.js'
import { durationOption, numberOption, runOn, type Session, type SharedOptions, shared } from '../command.js'
import { enqueueFile } from '../enqueue-file.js'
import { count, print, printJson } from '../output.js'

type Options = SharedOptions & {
  readonly delay?: Duration
  readonly at?: string
  readonly priority?: number
  readonly dedupKey?: string
  readonly headers?: string
  readonly file?: string
  readonly fromLine?: number
  readonly wait?: Duration
}

export function enqueueCommand(program: Command): void {
  const command = program
    .command('enqueue <queue> [payload]')
    .description('enqueue a message (the payload is JSON), or the messages of a file')
    .option('--delay <duration>', 'due so long from now', durationOption)
    .option('--at <instant>', 'due at this instant, such as 2027-01-31T09:00:00Z')
    .option('--priority <n>', '-100 to 100; SMALLER comes FIRST (default: 0)', numberOption)
    .option('--dedup-key <key>', 'at most one live message of the queue has this key')
    .option('--headers <json>', 'metadata beside the payload, a JSON object')
    .addOption(
      new Option('--file <path>', 'enqueue NDJSON from a file, or from stdin with -').conflicts([
        'delay',
        'at',
        'priority',
        'dedupKey',
        'headers',
      ]),
    )
    .option('--wait <duration>', 'wait so long for room in a queue that is full', durationOption)
    .option('--from-line <n>', 'with --file, go on at this line', numberOption)
    .addHelpText(
      'after',
      `
A line of the file is { "payload": …, "delay": "10m" }, and knows delay, at, priority, dedupKey and headers.
1000 lines at a time are committed together; after an error it says with which --from-line to go on.`,
    )
  shared(command).action((queue: string, payload: string | undefined, options: Options) =>
    runOn(options, async (session) => {
      if ((payload === undefined) === (options.file === undefined))
        throw new DueqError('usage', 'Give a payload (JSON), or --file with a path or - for stdin.')
      if (options.file === undefined && options.fromLine !== undefined)
        throw new DueqError('usage', '--from-line goes with --file.')
      if (options.file === undefined) await enqueueOne(session, queue, payload!, options)
      else await enqueueMany(session, queue, options.file, options)
    }),
  )
}

// --- internal ---

async function enqueueOne({ dueq, isJson }: Session, queue: string, text: string, options: Options): Promise<void> {
  const { delay, at, priority, dedupKey, wait } = options
  const payload = parseJson('payload', text)
  const headers = options.headers === undefined ? undefined : parseHeaders(options.headers)
  const { id, created } = await dueq.queue(queue).enqueue(payload, { delay, at, priority, dedupKey, headers, wait })
  if (isJson) printJson({ id, created })
  else print(created ? `Message ${id} enqueued.` : `Message ${id} has this dedup key already; nothing was enqueued.`)
}

async function enqueueMany(
  { dueq, isJson }: Session,
  queue: string,
  file: string,
  { fromLine: fromLineGiven = 1, wait }: Options,
): Promise<void> {
  const stop = new AbortController()
  const onSignal = (): void => stop.abort()
  for (const signal of ['SIGINT', 'SIGTERM'] as const) process.once(signal, onSignal)
  const fromLine = wholeNumber('from-line', fromLineGiven, 1, Number.MAX_SAFE_INTEGER)
  const report = await enqueueFile(dueq.queue(queue), { file, fromLine, wait, signal: stop.signal })
  if (isJson) return printJson(report)
  const duplicates =
    report.duplicates === 0 ? '' : `; ${count(report.duplicates, 'message')} had their dedup key live already`
  print(`${count(report.enqueued, 'message')} enqueued from ${count(report.lines, 'line')}${duplicates}.`)
}

function parseJson(name: string, text: string): unknown {
  try {
    return JSON.parse(text)
  } catch (error) {
    const advice = name === 'payload' ? ` A text needs its quotes: '"text"'.` : ''
    throw new DueqError('payload.not_json', `Expected the ${name} to be JSON: ${(error as Error).message}.${advice}`, {
      cause: error,
    })
  }
}

function parseHeaders(text: string): Record<string, unknown> {
  const value = parseJson('headers', text)
  if (typeof value === 'object' && value !== null && !Array.isArray(value)) return value as Record<string, unknown>
  throw new DueqError('headers.invalid', `Expected --headers to be a JSON object, got ${describe(value)}.`)
}
