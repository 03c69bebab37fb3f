// dueq dead: looks at dead letters, makes them messages again, or deletes them.
import type { Command } from 'commander'
import { DueqError } from '../../errors.js'
import { wholeNumber } from '../../options.js'
import { idOption, numberOption, runOn, type SharedOptions, shared, storedQueue } from '../command.js'
import { confirm } from '../confirm.js'
import { card, count, preview, print, printJson, say, shortInstant, tableOr } from '../output.js'

type MaxOptions = SharedOptions & { readonly max: number }
type PurgeOptions = SharedOptions & { readonly yes?: boolean }

export function deadCommand(program: Command): void {
  const dead = program.command('dead').description('list, show, redrive and purge dead letters')
  const ids = (id: string, before: readonly string[] = []): string[] => [...before, idOption(id)]

  const listing = dead
    .command('list [queue]')
    .description('list the dead letters of all queues, or of one, oldest first')
    .option('--max <n>', 'at most so many, 1 to 10000', numberOption, 20)
  shared(listing).action((queue: string | undefined, options: MaxOptions) => list(queue, options))

  shared(
    dead
      .command('show')
      .description('show a dead letter with everything about it')
      .argument('<id>', 'its id', idOption),
  ).action((id: string, options: SharedOptions) => show(id, options))

  const redriving = dead
    .command('redrive <queue>')
    .description('make dead letters messages again, due now, with new ids: those given, or the oldest')
    .argument('[ids...]', 'their ids', ids)
    .option('--max <n>', 'without ids, at most so many, 1 to 10000', numberOption, 1000)
  shared(redriving).action((queue: string, given: readonly string[] | undefined, options: MaxOptions) =>
    redrive(queue, given, options),
  )

  const purging = dead
    .command('purge <queue>')
    .description('delete dead letters: those given, or all of the queue')
    .argument('[ids...]', 'their ids', ids)
    .option('--yes', 'do not ask')
  shared(purging).action((queue: string, given: readonly string[] | undefined, options: PurgeOptions) =>
    purge(queue, given, options),
  )
}

// --- internal ---

function list(queue: string | undefined, options: MaxOptions): Promise<void> {
  return runOn(options, async (session) => {
    const max = wholeNumber('max', options.max, 1, 10_000)
    if (queue !== undefined) await storedQueue(session, queue)
    const letters = await session.statements.dead(session.query, queue, max)
    if (session.isJson) return printJson(letters)
    const headers = ['id', 'queue', 'reason', 'died', 'attempts', 'failures', 'payload', 'last error']
    const rows = letters.map((letter) => [
      letter.id,
      letter.queue,
      letter.reason,
      shortInstant(letter.diedAt),
      letter.attempt,
      letter.failures,
      preview(letter.payload, 40),
      preview(letter.lastError ?? '', 40),
    ])
    print(tableOr('There are no dead letters.', headers, rows))
  })
}

function show(id: string, options: SharedOptions): Promise<void> {
  return runOn(options, async ({ query, statements, isJson }) => {
    const [letter] = await statements.dead(query, undefined, 1, id)
    if (!letter) throw new DueqError('message.not_found', `There is no dead letter ${id}.`)
    if (isJson) return printJson(letter)
    print(
      card({
        id: letter.id,
        queue: letter.queue,
        reason: letter.reason,
        died: letter.diedAt,
        due: letter.dueAt,
        attempts: letter.attempt,
        failures: letter.failures,
        lapses: letter.lapses,
        payload: JSON.stringify(letter.payload),
        headers: letter.headers === null ? null : JSON.stringify(letter.headers),
        'last error': letter.lastError,
      }),
    )
  })
}

function redrive(queue: string, ids: readonly string[] | undefined, options: MaxOptions): Promise<void> {
  return runOn(options, async (session) => {
    await storedQueue(session, queue)
    const given = ids?.length ? ids : undefined
    const redriven = await session.dueq.queue(queue).redrive({ ids: given, max: options.max })
    const done = new Set(redriven.map(({ deadId }) => deadId))
    const missing = (given ?? []).filter((id) => !done.has(id))
    if (given && redriven.length === 0)
      throw new DueqError('message.not_found', `Queue "${queue}" has no dead letter ${given.join(', ')}.`)
    if (missing.length > 0) {
      process.exitCode = 3
      say(`Queue "${queue}" has no dead letter ${missing.join(', ')}; the others are redriven.`)
    }
    if (session.isJson) return printJson(redriven)
    const rows = redriven.map(({ deadId, id }) => [deadId, id])
    print(tableOr(`Queue "${queue}" has no dead letters.`, ['dead letter', 'new message'], rows))
  })
}

function purge(queue: string, ids: readonly string[] | undefined, options: PurgeOptions): Promise<void> {
  return runOn(options, async (session) => {
    await storedQueue(session, queue)
    const handle = session.dueq.queue(queue)
    const given = ids?.length ? ids : undefined
    const { dead } = await handle.stats()
    await confirm(`Delete ${count(given?.length ?? dead, 'dead letter')} of queue "${queue}" for good?`, options.yes)
    const purged = await handle.purgeDead({ ids: given })
    if (session.isJson) printJson({ queue, purged })
    else print(`Deleted ${count(purged, 'dead letter')} of queue "${queue}".`)
  })
}
