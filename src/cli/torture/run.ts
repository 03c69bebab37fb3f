/**
 * A torture run:
 *
 *   open -> processes up -> load and faults -> faults end, producers stop -> the queue drains -> consumers stop -> judged
 *
 * Invariant: however it ends, no process, proxy, server or schema of it is left. The journals stay where a rule was broken.
 */
import { existsSync } from 'node:fs'
import { mkdir, mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import type { Query } from '../../driver.js'
import { type Statements, statements as statementsOf } from '../../statements.js'
import { isEmpty } from '../demo-run.js'
import { openJournal } from '../journal.js'
import { type PgBouncer, startPgBouncer } from '../pgbouncer.js'
import { type Account, accountFor } from './account.js'
import { readDatabaseClock } from './clock.js'
import { type Director, direct, type FaultTally } from './director.js'
import type { FaultKind } from './fault.js'
import { availableFaults, type ChosenFaults, whyUnpooled, whyUnproxied } from './faults.js'
import type { MemberCounts } from './member.js'
import { openTorturePlace, type TorturePlace, type TortureTarget } from './place.js'
import { openSlot, type Slot } from './slots.js'
import { openControl } from './sql.js'
import type { TortureWatch, WatchedRun } from './watch.js'

export type TortureOptions = {
  readonly target: TortureTarget
  readonly listenUrl: string | undefined
  readonly seed: number
  readonly forMs: number
  /** About so many at most; undefined: as many as come. */
  readonly messages: number | undefined
  /** Messages per second of all producers. */
  readonly rate: number
  readonly producers: number
  readonly consumers: number
  readonly faults: readonly FaultKind[]
  /** A directory for the journals, which are kept; undefined: a temporary one, kept where a rule was broken. */
  readonly journals: string | undefined
  /** How long the queue may take to become empty when nothing disturbs it any more. */
  readonly drainMs: number
  /** Stops the run early; it is judged all the same. */
  readonly signal: AbortSignal
  readonly view: TortureView
  /** Whether the first process of each role is never killed, so that it shows what one is like that is old. @default no */
  readonly isFirstSpared?: boolean
  /** Measures the run while it is under load. */
  readonly watch?: (run: WatchedRun) => TortureWatch
}

/** Who watches. */
export type TortureView = {
  note(text: string): void
  progress(progress: TortureProgress): void
}

export type TortureProgress = {
  readonly elapsedMs: number
  readonly counts: MemberCounts
  /** `cut on consumer 1`. */
  readonly faults: readonly string[]
}

export type TortureResult = Account & {
  readonly description: string
  readonly loadMs: number
  readonly drainMs: number
  readonly isInterrupted: boolean
  readonly tallies: readonly FaultTally[]
  readonly missing: ChosenFaults['missing']
  readonly spans: Director['spans']
  readonly counts: MemberCounts
  readonly crashCount: number
  readonly connectionCount: number
  /** What ended a process that nobody had killed; empty where dueq behaved. */
  readonly failures: readonly string[]
  /** Where the journals are. */
  readonly directory: string
}

export const leaseMs = 2000
export const pollMs = 1000
const settings = { leaseMs, pollIntervalMs: pollMs, maxAttempts: 50, backoffBaseMs: 50, backoffMaxMs: 1000 }
const stopMs = 20_000

export async function runTorture(options: TortureOptions): Promise<TortureResult> {
  const { view, target } = options
  view.note(target.url === undefined ? 'starting an embedded PostgreSQL …' : 'making a place for the run …')
  const place = await openTorturePlace(target)
  const { journals } = options
  if (journals !== undefined) await mkdir(journals, { recursive: true })
  const directory = await mkdtemp(join(journals ?? tmpdir(), 'dueq-torture-'))
  const closing: (() => Promise<unknown>)[] = [() => place.close()]
  let isClean = false
  try {
    const result = await torture(options, place, directory, closing)
    isClean = result.report.ok && result.liveCount === 0 && result.failures.length === 0
    return result
  } finally {
    await closeAll(closing)
    if (isClean && journals === undefined) await rm(directory, { recursive: true, force: true })
  }
}

// --- internal ---

/** Last opened first, and all of them; raises what the first of them raised. */
async function closeAll(closing: readonly (() => Promise<unknown>)[]): Promise<void> {
  const errors: unknown[] = []
  for (const close of closing.toReversed()) await close().catch((error: unknown) => errors.push(error))
  if (errors.length > 0) throw errors[0]
}

async function torture(
  options: TortureOptions,
  at: TorturePlace,
  directory: string,
  closing: (() => Promise<unknown>)[],
): Promise<TortureResult> {
  const { view, signal, seed, forMs, messages } = options
  const { place, queue, embedded } = at
  const pool = openControl(place.url)
  closing.push(() => pool.close())
  const clock = await readDatabaseClock(place.url)
  closing.push(() => clock.close())
  const database = { query: pool.query, statements: statementsOf(place.schema) }
  await database.statements.createQueue(pool.query, queue, settings)

  const unproxied = whyUnproxied(place.url) ?? whyUnproxied(options.listenUrl ?? place.url)
  const context = { isEmbedded: embedded !== undefined, unproxied, unpooled: whyUnpooled(place.url) }
  const { kinds, missing } = availableFaults(options.faults, context)
  const failures: string[] = []
  const slots = await openSlots(options, at, {
    ...{ directory, isProxied: unproxied === undefined },
    fail: (error) => void failures.push(error.message),
  })
  closing.push(() => Promise.all(slots.map((slot) => slot.close())))
  view.note(`${at.description}; starting ${slots.length} processes …`)
  await Promise.all(slots.map((slot) => slot.start()))

  let pooler: Promise<PgBouncer> | undefined
  closing.push(async () => (await pooler)?.stop())
  const startPooler = (): Promise<PgBouncer> => {
    pooler ??= startPgBouncer(place.url).catch((error: unknown) => {
      pooler = undefined // the server may have been down: the fault tries again
      throw error
    })
    return pooler
  }
  const journal = openJournal(join(directory, 'faults.ndjson'))
  closing.push(async () => journal.close())
  const stage = {
    ...{ url: place.url, query: pool.query, embedded, leaseMs },
    pooler: startPooler,
  }
  const director = direct({ seed, forMs, kinds, slots, stage, clock, journal })
  const watch = options.watch?.({ ...at, slots, director })
  if (watch) closing.push(() => watch.end())
  const startedAt = performance.now()
  const isOver = (): boolean => {
    const enough = messages !== undefined && sumOf(slots).enqueued >= messages
    return signal.aborted || failures.length > 0 || enough || performance.now() - startedAt >= forMs
  }
  const tell = (): void =>
    view.progress({ elapsedMs: performance.now() - startedAt, counts: sumOf(slots), faults: director.active() })
  for (let next = 0; !isOver(); next++) {
    if (next % 10 === 0) tell()
    await delay(100)
  }
  const loadMs = performance.now() - startedAt
  await watch?.end()
  view.note('the faults end, the queue is to become empty …')
  await director.end()
  const isOf = (role: Slot['role']) => slots.filter((slot) => slot.role === role)
  await Promise.all(isOf('producer').map((slot) => slot.stop(stopMs)))
  await untilEmpty(database, queue, { drainMs: options.drainMs, tell })
  const drained = performance.now() - startedAt - loadMs
  await Promise.all(isOf('consumer').map((slot) => slot.stop(stopMs)))
  const { spans } = director
  // Without them everything would look like a phantom.
  if (!existsSync(join(directory, 'faults.ndjson')))
    throw new Error(`The journals in ${directory} were removed while the run went on: it cannot be judged.`)
  // A process that was killed before it could open its journal has done nothing.
  const journals = slots.flatMap(({ journals }) => journals).filter(existsSync)
  const account = await accountFor(journals, queue, database, { spans, pollMs, heard: watch?.heard })
  return {
    ...account,
    ...{ description: at.description, loadMs, drainMs: drained, isInterrupted: signal.aborted },
    ...{ tallies: director.tallies, missing, spans, failures, directory },
    counts: sumOf(slots),
    crashCount: slots.reduce((sum, slot) => sum + slot.crashCount, 0),
    connectionCount: slots.reduce((sum, { road }) => sum + (road?.counts.connections ?? 0), 0),
  }
}

async function openSlots(
  { producers, consumers, rate, listenUrl, seed, isFirstSpared = false }: TortureOptions,
  { place, queue, run, server }: TorturePlace,
  more: { readonly directory: string; readonly isProxied: boolean; readonly fail: (error: Error) => void },
): Promise<Slot[]> {
  const numbered = (role: Slot['role'], count: number) =>
    Array.from({ length: count }, (_, index) => ({ role, number: index + 1 }))
  const all = [...numbered('producer', producers), ...numbered('consumer', consumers)]
  return Promise.all(
    all.map(({ role, number }, index) =>
      openSlot({
        ...{ role, place, queue, leaseMs, rate: rate / producers, prepare: !server.isPooled, ...more },
        isSpared: isFirstSpared && number === 1,
        name: `${role} ${number}`,
        application: `${run}.${role}${number}`,
        listenUrl: listenUrl ?? place.url,
        seed: seed + 1000 * (index + 1),
      }),
    ),
  )
}

async function untilEmpty(
  { query, statements }: { readonly query: Query; readonly statements: Statements },
  queue: string,
  { drainMs, tell }: { readonly drainMs: number; readonly tell: () => void },
): Promise<void> {
  const deadline = performance.now() + drainMs
  for (let next = 0; performance.now() < deadline; next++) {
    const [stats] = await statements.stats(query, queue).catch(() => [])
    if (stats && isEmpty(stats)) return
    if (next % 10 === 9) tell()
    await delay(100)
  }
}

function sumOf(slots: readonly Slot[]): MemberCounts {
  const all = slots.map(({ counts }) => counts)
  const keys = Object.keys(all[0]!) as (keyof MemberCounts)[]
  return Object.fromEntries(keys.map((key) => [key, all.reduce((sum, one) => sum + one[key], 0)])) as MemberCounts
}
