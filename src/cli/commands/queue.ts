// dueq queue: creates, shows, pauses and drops queues.
import type { Command } from 'commander'
import { defineQueue } from '../../definition.js'
import { DueqError } from '../../errors.js'
import type { Duration } from '../../options.js'
import type { StoredSettings } from '../../statements-operate.js'
import { durationOption, numberOption, runOn, type SharedOptions, shared, storedQueue } from '../command.js'
import { confirm } from '../confirm.js'
import { card, count, print, printJson, shortInstant, tableOr } from '../output.js'
import { formatDuration } from '../table.js'
import { statsCells } from './stats.js'

type CreateOptions = SharedOptions & {
  readonly lease?: Duration
  readonly maxAttempts?: number
  readonly backoffBase?: Duration
  readonly backoffMax?: Duration
  readonly pollInterval?: Duration
  readonly maxDepth?: number | null
  readonly maxPayloadBytes?: number
}
type DropOptions = SharedOptions & { readonly force?: boolean; readonly yes?: boolean }

export function queueCommand(program: Command): void {
  const queue = program.command('queue').description('create, show, pause and drop queues')

  const creating = queue
    .command('create <queue>')
    .description('create a queue, or change the settings that are given')
    .option('--lease <duration>', 'how long a message is held, 1s to 12h (default: 30s)', durationOption)
    .option('--max-attempts <n>', 'failures until a message is dead, 1 to 1000 (default: 20)', numberOption)
    .option('--backoff-base <duration>', 'delay before the first retry, 0 to 1d (default: 1s)', durationOption)
    .option('--backoff-max <duration>', 'longest delay before a retry, 0 to 30d (default: 15m)', durationOption)
    .option('--poll-interval <duration>', 'longest sleep of a consumer, 100ms to 1h (default: 5s)', durationOption)
    .option('--max-depth <n>', 'live messages, from which on enqueue is refused; none: no limit (default)', depthOption)
    .option('--max-payload-bytes <n>', 'the most JSON of a payload, 1 to 67108864 (default: 1048576)', numberOption)
  shared(creating).action((name: string, options: CreateOptions) => create(name, options))

  shared(queue.command('list').description('list the queues and their settings')).action((options: SharedOptions) =>
    list(options),
  )
  shared(queue.command('show <queue>').description('show the settings and the numbers of a queue')).action(
    (name: string, options: SharedOptions) => show(name, options),
  )
  shared(queue.command('pause <queue>').description('deliver nothing until it is resumed')).action(
    (name: string, options: SharedOptions) => setPaused(name, true, options),
  )
  shared(queue.command('resume <queue>').description('deliver again')).action((name: string, options: SharedOptions) =>
    setPaused(name, false, options),
  )

  const dropping = queue
    .command('drop <queue>')
    .description('remove a queue, which must be empty')
    .option('--force', 'delete its messages and dead letters first, leased ones too')
    .option('--yes', 'do not ask')
  shared(dropping).action((name: string, options: DropOptions) => drop(name, options))
}

// --- internal ---

/** Reads --max-depth: a number, or none. */
function depthOption(text: string): number | null {
  return text === 'none' ? null : numberOption(text)
}

function create(name: string, options: CreateOptions): Promise<void> {
  return runOn(options, async ({ query, statements, isJson }) => {
    const { lease, maxAttempts, backoffBase: base, backoffMax: max, pollInterval, maxDepth, maxPayloadBytes } = options
    const limits = { maxDepth, maxPayloadBytes }
    const { settings } = defineQueue(name, { lease, maxAttempts, backoff: { base, max }, pollInterval, ...limits })
    const outcome = await statements.createQueue(query, name, settings)
    const [stored] = await statements.settings(query, name)
    if (isJson) printJson({ outcome, ...stored })
    else print(outcome === 'unchanged' ? `Queue "${name}" is as wanted already.` : `Queue "${name}" ${outcome}.`)
  })
}

function list(options: SharedOptions): Promise<void> {
  return runOn(options, async ({ query, statements, isJson }) => {
    const queues = await statements.settings(query)
    if (isJson) return printJson(queues)
    const headers = ['queue', 'lease', 'max attempts', 'back-off', 'poll interval', 'max depth', 'paused since']
    const rows = queues.map((stored) => [stored.queue, ...Object.values(settingCells(stored))])
    print(tableOr('There are no queues. Create one: dueq queue create NAME', headers, rows))
  })
}

function show(name: string, options: SharedOptions): Promise<void> {
  return runOn(options, async (session) => {
    const stored = await storedQueue(session, name)
    const stats = await session.dueq.queue(name).stats()
    if (session.isJson) printJson({ ...stored, ...stats })
    else
      print(
        card({
          queue: name,
          ...settingCells(stored),
          'max payload': `${stored.maxPayloadBytes} bytes`,
          ...statsCells(stats),
        }),
      )
  })
}

function setPaused(name: string, isPaused: boolean, options: SharedOptions): Promise<void> {
  return runOn(options, async ({ dueq, isJson }) => {
    const queue = dueq.queue(name)
    const changed = await (isPaused ? queue.pause() : queue.resume())
    const verb = isPaused ? 'paused' : 'resumed'
    if (isJson) printJson({ queue: name, paused: isPaused, changed })
    else print(changed ? `Queue "${name}" ${verb}.` : `Queue "${name}" was ${isPaused ? 'paused' : 'running'} already.`)
  })
}

function drop(name: string, options: DropOptions): Promise<void> {
  return runOn(options, async (session) => {
    await storedQueue(session, name)
    const queue = session.dueq.queue(name)
    const { delayed, ready, leased, lapsed, dead } = await queue.stats()
    const live = delayed + ready + leased + lapsed
    const held = `${count(live, 'message')} and ${count(dead, 'dead letter')}`
    if (live + dead > 0 && !options.force)
      throw new DueqError('queue.not_empty', `Queue "${name}" holds ${held}. Drop it with them by --force.`)
    await confirm(`Drop queue "${name}" with ${held}?`, options.yes)
    const purged = options.force ? await queue.purge({ includeLeased: true }) : 0
    const purgedDead = options.force ? await queue.purgeDead() : 0
    await queue.drop()
    if (session.isJson) printJson({ queue: name, dropped: true, purged, purgedDead })
    else
      print(
        `Queue "${name}" dropped${options.force ? `, with ${count(purged, 'message')} and ${count(purgedDead, 'dead letter')}` : ''}.`,
      )
  })
}

function settingCells(stored: StoredSettings): Record<string, string | number> {
  return {
    lease: formatDuration(stored.leaseMs),
    'max attempts': stored.maxAttempts,
    'back-off': `${formatDuration(stored.backoffBaseMs)} to ${formatDuration(stored.backoffMaxMs)}`,
    'poll interval': formatDuration(stored.pollIntervalMs),
    'max depth': stored.maxDepth ?? 'none',
    'paused since': shortInstant(stored.pausedAt),
  }
}
