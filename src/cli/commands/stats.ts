// dueq stats: how many messages are in which state, once or again and again.
import type { Command } from 'commander'
import { DueqError } from '../../errors.js'
import type { QueueStats } from '../../statements-operate.js'
import { runOn, type Session, type SharedOptions, shared, storedQueue } from '../command.js'
import { print, printJson, shortInstant, tableOr } from '../output.js'
import { type Cell, formatDuration } from '../table.js'

type Options = SharedOptions & { readonly watch?: true | string }

export function statsCommand(program: Command): void {
  const command = program
    .command('stats [queue]')
    .description('count the messages of all queues, or of one')
    .option('--watch [seconds]', 'again every so many seconds (default: 2), until Ctrl-C')
  shared(command).action((queue: string | undefined, options: Options) =>
    runOn(options, async (session) => {
      if (queue !== undefined) await storedQueue(session, queue)
      if (options.watch === undefined) return show(session, queue, print)
      await watch(session, queue, watchMs(options.watch))
    }),
  )
}

/** The numbers of a queue as cells, by the heads of their columns. */
export function statsCells(stats: QueueStats): Record<string, Cell> {
  return {
    delayed: stats.delayed,
    ready: stats.ready,
    leased: stats.leased,
    lapsed: stats.lapsed,
    dead: stats.dead,
    'oldest ready': stats.readyForMs === null ? '-' : formatDuration(stats.readyForMs),
    'next ready': shortInstant(stats.nextReadyAt),
  }
}

// --- internal ---

async function show({ dueq, isJson }: Session, queue: string | undefined, draw: (text: string) => void): Promise<void> {
  const stats = queue === undefined ? await dueq.stats() : [await dueq.queue(queue).stats()]
  if (isJson) return printJson(queue === undefined ? stats : stats[0])
  const rows = stats.map((one) => [one.queue, ...Object.values(statsCells(one)), one.pausedAt ? 'yes' : '-'])
  const headers = ['queue', 'delayed', 'ready', 'leased', 'lapsed', 'dead', 'oldest ready', 'next ready', 'paused']
  draw(tableOr('There are no queues. Create one: dueq queue create NAME', headers, rows))
}

async function watch(session: Session, queue: string | undefined, everyMs: number): Promise<void> {
  const stop = new AbortController()
  const onSignal = (): void => stop.abort()
  for (const signal of ['SIGINT', 'SIGTERM'] as const) process.once(signal, onSignal)
  const draw = process.stdout.isTTY ? inPlace() : print
  while (!stop.signal.aborted) {
    await show(session, queue, draw)
    await new Promise<void>((resolve) => {
      const timer = setTimeout(resolve, everyMs)
      stop.signal.addEventListener(
        'abort',
        () => {
          clearTimeout(timer)
          resolve()
        },
        { once: true },
      )
    })
  }
}

/** Draws over what was drawn before. What has scrolled out of the screen cannot be reached, so it is not tried. */
function inPlace(): (text: string) => void {
  let lines = 0
  return (text) => {
    const up = Math.min(lines, (process.stdout.rows || Number.POSITIVE_INFINITY) - 1)
    process.stdout.write(`${up > 0 ? `\x1b[${up}A\x1b[J` : ''}${text}\n`)
    lines = text.split('\n').length
  }
}

function watchMs(given: true | string): number {
  const seconds = given === true ? 2 : Number(given)
  if (seconds >= 0.1 && seconds <= 3600) return seconds * 1000
  throw new DueqError(
    'option.invalid',
    `Expected --watch to be a number of seconds from 0.1 to 3600, got \`${given}\`.`,
  )
}
