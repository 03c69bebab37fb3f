/**
 * One consumer process of a crew, started by `crew.ts`.
 *
 *   consuming -- told to stop --> finishing -> gone
 *       `-- the parent is gone --> removes what it left behind -> gone
 *
 * Invariant: it never outlives its parent. What it saw is in its journal: where it may be killed (`work` given), each
 * record before its consequences; where it measures, in batches, so that writing is not what is measured.
 */
import { appendFileSync, closeSync, openSync } from 'node:fs'
import { rm } from 'node:fs/promises'
import { dirname } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import { connect } from '../connect.js'
import type { Consumer } from '../consumer.js'
import { isDueqError } from '../errors.js'
import type { DueqEvent } from '../events.js'
import type { Message } from '../message.js'
import { type ClaimedRecord, type Journal, type JournalRecord, openJournal, type SettledRecord } from './journal.js'
import { removeAbandoned, type ScratchPlace } from './scratch.js'

/** What to do. */
export type CrewOrder = {
  readonly place: ScratchPlace
  readonly queue: string
  readonly name: string
  readonly concurrency: number
  readonly leaseMs: number
  /** How long the handlers take, on average; without, they do nothing. */
  readonly workMs?: number
  /** The journal to write, in a directory that is of this run only. */
  readonly journal: string
}

/** What the parent hears. Numbers are since the last report, except `held`. */
export type CrewReport =
  | { readonly type: 'ready' }
  | {
      readonly type: 'tally'
      /** Messages claimed and not settled. */
      readonly held: number
      readonly delivered: number
      /** Of the delivered: those that another attempt had held before. */
      readonly redelivered: number
      /** In ms, of first deliveries. */
      readonly lateness: readonly number[]
    }
  | { readonly type: 'failed'; readonly message: string }

/**
 * Where the order is: not among the arguments, which other users can read and the URL holds a password; and not in a
 * message, which is lost where the parent dies before this process listens.
 */
const orderVariable = 'DUEQ_CREW_ORDER'
const tallyEveryMs = 100
const flushEveryMs = 500

// Ctrl-C reaches every process of the terminal; what it means is decided by the parent.
process.on('SIGINT', () => {})
start(JSON.parse(process.env[orderVariable] ?? 'null')).catch((error: unknown) => {
  report({ type: 'failed', message: error instanceof Error ? error.message : String(error) })
  process.exitCode = 1
  if (process.connected) process.disconnect()
})

// --- internal ---

function report(what: CrewReport): void {
  // Where the parent is gone there is nobody to tell.
  if (process.connected) process.send!(what, () => {})
}

async function start(order: CrewOrder): Promise<void> {
  const { place, queue, concurrency, leaseMs, name } = order
  const isIdle = order.workMs === undefined
  const journal = isIdle ? openBatchedJournal(order.journal) : openJournal(order.journal)
  const onEvent = (event: DueqEvent): void => {
    // A handler that does nothing leaves the ack to the consumer, and only the event says that it came through.
    if (isIdle && event.type === 'message.acked') journal.write(settled(event, 'acked'))
  }
  const dueq = connect({ url: place.url, schema: place.schema, name, onEvent })
  let consumer: Consumer | undefined
  let delivered = 0
  let redelivered = 0
  let lateness: number[] = []

  const handler = (message: Message<unknown>): Promise<void> | undefined => {
    const { latenessMs } = message
    journal.write(claimed(message, { name, leaseMs, latenessMs }))
    delivered++
    if (message.attempt > 1) redelivered++
    else lateness.push(latenessMs)
    return order.workMs === undefined ? undefined : work(message, journal, order.workMs)
  }
  const tally = (): void => {
    const status = consumer?.status
    const held = status ? status.running + status.buffered + status.settling : 0
    report({ type: 'tally', held, delivered, redelivered, lateness })
    delivered = 0
    redelivered = 0
    lateness = []
  }

  const onOrphaned = (): void => {
    // First no more statements: a drop of the schema in their midst would be a deadlock.
    void Promise.race([dueq.close({ deadline: '1s' }), delay(2000)])
      .catch(() => {})
      .then(() => removeAbandoned(place))
      .then(() => rm(dirname(order.journal), { recursive: true, force: true }))
      .finally(() => process.exit())
  }
  process.once('disconnect', onOrphaned)
  // The parent may have died before this process was up.
  if (!process.connected) return onOrphaned()
  consumer = dueq.queue(queue).consume(handler, { concurrency, lease: leaseMs })
  const timer = setInterval(tally, tallyEveryMs)
  process.once('message', () => void consumer?.stop({ deadline: '10s' }))
  report({ type: 'ready' })
  try {
    await consumer.stopped
    await dueq.close()
  } finally {
    clearInterval(timer)
    journal.close()
  }
  tally()
  process.removeAllListeners('disconnect')
  process.disconnect()
}

/** Takes a realistic, varying time, mostly short and sometimes long; then acks, and says so before and after. */
async function work(message: Message<unknown>, journal: Journal, meanMs: number): Promise<void> {
  const { id, attempt } = message
  await delay(meanMs * Math.min(0.25 - 0.75 * Math.log(1 - Math.random()), 4))
  journal.write({ type: 'settling', id, attempt, how: 'acked' })
  try {
    await message.ack()
  } catch (error) {
    if (isDueqError(error) && error.code === 'lease.lost') journal.write(settled(message, 'refused'))
    throw error
  }
  journal.write(settled(message, 'acked'))
}

/** The instant of the claim is the end of the lease as claimed, minus the lease: exact to the millisecond, cut like `dueAt`. */
function claimed(
  { id, attempt, dueAt, leaseEndsAt }: Message<unknown>,
  { name, leaseMs, latenessMs }: { readonly name: string; readonly leaseMs: number; readonly latenessMs: number },
): ClaimedRecord {
  return {
    type: 'claimed',
    id,
    attempt,
    consumer: name,
    at: new Date(leaseEndsAt.getTime() - leaseMs).toISOString(),
    dueAt: dueAt.toISOString(),
    leaseEndsAt: leaseEndsAt.toISOString(),
    latenessMs,
  }
}

function settled({ id, attempt }: Pick<SettledRecord, 'id' | 'attempt'>, how: 'acked' | 'refused'): SettledRecord {
  return { type: 'settled', id, attempt, how, at: new Date().toISOString() }
}

/** A journal that loses up to half a second to a kill, and costs next to nothing while it is written. */
function openBatchedJournal(path: string): Journal {
  const file = openSync(path, 'ax')
  let records: JournalRecord[] = []
  const flush = (): void => {
    if (records.length > 0) appendFileSync(file, records.map((record) => `${JSON.stringify(record)}\n`).join(''))
    records = []
  }
  const timer = setInterval(flush, flushEveryMs)
  return {
    write: (record) => void records.push(record),
    writeAll: (more) => void records.push(...more),
    close() {
      clearInterval(timer)
      flush()
      closeSync(file)
    },
  }
}
