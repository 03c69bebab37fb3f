/**
 * The demonstration: messages with delays, consumer processes, and one of them killed half-way.
 *
 *   open -> enqueue all -> crew consumes -- half-way --> kill the fullest --> all settled --> judge
 *
 * Invariant: however it ends, the crew, the server (or schema) and the journals are gone.
 */
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import { connect } from '../connect.js'
import type { QueueStats } from '../statements-operate.js'
import { type Crew, type CrewMember, startCrew } from './crew.js'
import { fullestMember, type KilledConsumer, killMember, type Redelivery, redeliveriesOf } from './demo-kill.js'
import { parseInstant } from './instant.js'
import { openJournal } from './journal.js'
import { createLatenessRecorder, type LatenessSummary } from './lateness.js'
import { openScratch, type Scratch } from './scratch.js'
import { judge, type Verdict } from './verdict.js'

export type DemoOptions = {
  readonly messages: number
  /** Over how long the due times are spread. */
  readonly seconds: number
  readonly consumers: number
  readonly url?: string | undefined
  readonly signal: AbortSignal
  readonly view: DemoView
}

/** Who watches. */
export type DemoView = {
  /** How often `progress` is wanted. */
  readonly everyMs: number
  note(text: string): void
  progress(progress: DemoProgress): void
}

export type DemoProgress = {
  /** Since the first message was due; negative before. */
  readonly elapsedMs: number
  readonly stats: QueueStats
  readonly members: readonly CrewMember[]
  /** Messages of the killed consumer that have not come again. */
  readonly orphaned: number
  /** Of first deliveries. */
  readonly lastSecond: LatenessSummary
}

export type DemoResult = Verdict & {
  readonly killed: KilledConsumer | undefined
  readonly redelivered: readonly Redelivery[]
}

export const demoLeaseMs = 2000
/** What the killed consumer must hold for the crash to show anything. */
export const heldAtLeast = 10

const queueName = 'reminders'
/** As many messages as each consumer should have in hand at any time. */
const inHand = 16

/** Runs the demonstration. Rejects where it cannot run, or is interrupted; a broken promise is for the judge to tell. */
export async function runDemo(options: DemoOptions): Promise<DemoResult> {
  const { view, signal } = options
  view.note(options.url === undefined ? 'starting an embedded PostgreSQL …' : 'creating a schema …')
  const scratch = await openScratch('demo', { url: options.url })
  const directory = await mkdtemp(join(tmpdir(), 'dueq-demo-'))
  const resources: { crew?: Crew } = {}
  const over = new AbortController()
  try {
    signal.throwIfAborted()
    const interrupted = new Promise<never>((_, reject) => {
      signal.addEventListener('abort', () => reject(signal.reason), { once: true })
    })
    const run = demonstrate({ ...options, signal: over.signal }, scratch, directory, resources)
    return await Promise.race([run, interrupted])
  } finally {
    over.abort()
    await resources.crew?.abandon()
    await scratch.close()
    await rm(directory, { recursive: true, force: true })
  }
}

// --- internal ---

async function demonstrate(
  options: DemoOptions,
  scratch: Scratch,
  directory: string,
  resources: { crew?: Crew },
): Promise<DemoResult> {
  const { messages, seconds, consumers, view, signal } = options
  const { query, statements, schema } = scratch
  const dueq = connect({ query, schema, listen: false })
  await statements.createQueue(query, queueName, { leaseMs: demoLeaseMs })
  const queue = dueq.queue(queueName)
  const journal = openJournal(join(directory, 'producer.ndjson'))

  const recent = createRecent()
  let redelivered = 0
  view.note(`${scratch.description}; starting ${consumers} consumer processes …`)
  const crew = await startCrew({
    count: consumers,
    directory,
    place: scratch,
    queue: queueName,
    concurrency: 2 * inHand,
    leaseMs: demoLeaseMs,
    // By Little's law: what is in hand is the rate of arrival times how long each is in hand.
    workMs: Math.min((inHand * consumers * seconds * 1000) / messages, 1500),
    onTally(tally) {
      recent.add(tally.lateness)
      redelivered += tally.redelivered
    },
  })
  resources.crew = crew

  const firstDueMs = parseInstant(await statements.serverTime(query)) / 1000 + 1000
  const startedAt = performance.now() + 1000
  const dueAts = Array.from({ length: messages }, () => firstDueMs + Math.random() * seconds * 1000)
  const items = dueAts.map((due, index) => ({ payload: { reminder: index + 1 }, at: new Date(Math.round(due)) }))
  const ids = await queue.enqueueMany(items)
  for (const [index, { id }] of ids.entries()) {
    const dueAt = items[index]!.at.toISOString()
    journal.write({ type: 'enqueued', id, ref: String(index), dueAt, outcome: 'committed' })
  }
  view.note(`enqueued ${messages} messages, due over the next ${seconds} s`)

  let killed: KilledConsumer | undefined
  const crashHalfWay = async (): Promise<void> => {
    const wayGone = (): number => (performance.now() - startedAt) / (seconds * 1000)
    while (wayGone() < 0.5) await delay(20, undefined, { signal })
    while (wayGone() < 0.9) {
      // The report is a moment old, so a few more than needed; but rather a few than no crash.
      const victim = fullestMember(crew, wayGone() < 0.7 ? heldAtLeast + 4 : heldAtLeast)
      if (victim) {
        killed = await killMember(victim, queueName, scratch)
        const extended = { type: 'extended' } as const
        for (const { id, attempt, leaseEndsAt } of killed.held) {
          journal.write({ ...extended, id, attempt, leaseEndsAt: new Date(leaseEndsAt).toISOString() })
        }
        return view.note(`kill -9 ${killed.name} (pid ${killed.pid}): it held ${killed.held.length} messages`)
      }
      await delay(20, undefined, { signal })
    }
  }

  const untilSettled = async (): Promise<void> => {
    let hasReturned = false
    const deadline = startedAt + seconds * 1000 + 15_000
    for (let next = performance.now(); performance.now() < deadline; ) {
      const stats = await queue.stats()
      const fallen = crew.members.find((member) => member.state === 'killed')
      const orphaned = (killed?.held.length ?? fallen?.held ?? 0) - redelivered
      const elapsedMs = performance.now() - startedAt
      view.progress({ elapsedMs, stats, members: crew.members, orphaned, lastSecond: recent.summary() })
      if (killed && orphaned <= 0 && !hasReturned) {
        hasReturned = true
        view.note(`all ${killed.held.length} messages of ${killed.name} were delivered again`)
      }
      if (isEmpty(stats)) return
      next += view.everyMs
      await delay(Math.max(next - performance.now(), 10), undefined, { signal })
    }
  }

  await Promise.race([Promise.all([crashHalfWay(), untilSettled()]), crew.failed])
  await crew.stop()
  journal.close()
  await dueq.close()
  const verdict = await judge([join(directory, 'producer.ndjson'), ...crew.journals], queueName, scratch)
  return { ...verdict, killed, redelivered: killed ? redeliveriesOf(killed, verdict.redeliveries) : [] }
}

/** Whether nothing is left to deliver. */
export function isEmpty({ delayed, ready, leased, lapsed }: QueueStats): boolean {
  return delayed + ready + leased + lapsed === 0
}

/** Lateness over the last second. */
function createRecent(): { add(values: readonly number[]): void; summary(): LatenessSummary } {
  let reports: { readonly at: number; readonly values: readonly number[] }[] = []
  return {
    add: (values) => void reports.push({ at: performance.now(), values }),
    summary() {
      reports = reports.filter(({ at }) => at > performance.now() - 1000)
      const recorder = createLatenessRecorder()
      for (const { values } of reports) for (const value of values) recorder.record(value)
      return recorder.summary()
    },
  }
}
