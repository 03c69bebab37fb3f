/**
 * What the producer and consumer processes of a run have in common: an order, a journal, a clock that can be set wrong,
 * numbers for whoever watches, and an end.
 *
 *   starting -> running -- told to stop --> finishing -> gone
 *                 `-- the parent is gone --> removes what it left behind -> gone
 *
 * Invariant: an error that nobody caught ends the process with code 70, which is a failure of the run: a library must not
 * throw into the empty.
 */
import { rm } from 'node:fs/promises'
import { dirname } from 'node:path'
import { connect, type Dueq } from '../../connect.js'
import { isDueqError } from '../../errors.js'
import type { DueqEvent } from '../../events.js'
import { type Journal, openJournal } from '../journal.js'
import { removeAbandoned, type ScratchPlace } from '../scratch.js'
import { type DatabaseClock, readDatabaseClock } from './clock.js'

/** What to do. */
export type MemberOrder = {
  /** Where the run is, past all faults. */
  readonly place: ScratchPlace
  readonly queue: string
  readonly name: string
  readonly seed: number
  /** The way to the database that faults lie in, with the name of the process as that of its sessions. */
  readonly url: string
  readonly listenUrl: string
  readonly prepare: boolean
  readonly leaseMs: number
  /** Of a producer: messages per second. */
  readonly rate: number
  /** Whether it is to live as long as the run: nothing kills it, nor does it by itself. */
  readonly isSpared: boolean
  /** The journal to write, in a directory that is of this run only. */
  readonly journal: string
}

/** Numbers since the process began, except `held`. */
export type MemberCounts = {
  enqueued: number
  unknown: number
  rolledBack: number
  claimed: number
  acked: number
  refused: number
  /** Of those that are kept by extension. */
  leasesLost: number
  /** Statements of a consumer that failed and are tried again. */
  errors: number
  listensLost: number
  /** In hand. */
  held: number
}

export type MemberReport =
  | { readonly type: 'ready' }
  | { readonly type: 'counts'; readonly counts: MemberCounts }
  /** By how much its Date is off, against the database. */
  | { readonly type: 'clock'; readonly offMs: number }

export type MemberCommand = { readonly type: 'stop' } | { readonly type: 'clock'; readonly shiftMs: number }

export type Member = {
  readonly order: MemberOrder
  readonly dueq: Dueq
  readonly journal: Journal
  readonly clock: DatabaseClock
  readonly counts: MemberCounts
  /** The attempts whose leases nobody extends, as `<id> <attempt>`: that they are lost is no news. */
  readonly byHand: Set<string>
  /** Writes down something that may explain others. */
  note(what: string, id?: string): void
}

/** Deadline of each statement, shorter than black holes last. */
export const statementMs = 2000
const reportEveryMs = 100
const orderVariable = 'DUEQ_TORTURE_ORDER'

/** Starts the work of this process; `work` gives the way to end it. `onEvent` hears of the events of dueq first. */
export async function runMember(
  work: (member: Member) => Promise<() => Promise<void>>,
  onEvent: (event: DueqEvent, member: Member) => void = () => {},
): Promise<void> {
  // Ctrl-C reaches every process of the terminal; what it means is decided by the parent.
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.on(signal, () => {})
  for (const bug of ['unhandledRejection', 'uncaughtException'] as const) {
    process.on(bug, (error) => {
      process.stderr.write(`${bug}: ${error instanceof Error ? error.stack : error}\n`)
      process.exit(70)
    })
  }
  const order = JSON.parse(process.env[orderVariable] ?? 'null') as MemberOrder
  const { place, name } = order
  const setClock = shiftableClock()
  const clock = await readDatabaseClock(place.url)
  const counts = {
    ...{ enqueued: 0, unknown: 0, rolledBack: 0, claimed: 0, acked: 0 },
    ...{ refused: 0, leasesLost: 0, errors: 0, listensLost: 0, held: 0 },
  }
  const journal = openJournal(order.journal)
  const dueq = connect({
    url: order.url,
    listenUrl: order.listenUrl,
    schema: place.schema,
    prepare: order.prepare,
    timeout: statementMs,
    name,
    onEvent(event) {
      count(event)
      onEvent(event, member)
    },
  })
  const member: Member = {
    order,
    dueq,
    journal,
    clock,
    counts,
    byHand: new Set(),
    note: (what, id) => journal.write({ type: 'noted', id: id ?? null, what, by: name, at: clock.notAfter() }),
  }
  const count = (event: DueqEvent): void => {
    if (event.type === 'message.acked') counts.acked++
    else if (event.type === 'consumer.error') counts.errors++
    else if (event.type === 'lease.lost' && !member.byHand.has(`${event.id} ${event.attempt}`)) {
      counts.leasesLost++
      member.note('lease lost', event.id)
    } else if (event.type === 'listen.lost' || event.type === 'listen.silent') {
      counts.listensLost++
      member.note(event.type)
    }
  }
  const report = (what: MemberReport, onSent: () => void = () => {}): void => {
    if (process.connected) process.send!(what, onSent)
    else onSent()
  }
  const onOrphaned = (): void => {
    void removeAbandoned(place)
      .then(() => rm(dirname(order.journal), { recursive: true, force: true }))
      .finally(() => process.exit())
  }
  process.once('disconnect', onOrphaned)
  if (!process.connected) return onOrphaned()
  const stop = await work(member)
  const timer = setInterval(() => report({ type: 'counts', counts }), reportEveryMs)
  process.on('message', async (command: MemberCommand) => {
    if (command.type === 'clock') {
      setClock(command.shiftMs)
      return report({ type: 'clock', offMs: Date.now() - Date.parse(clock.notBefore()) })
    }
    await stop()
    clearInterval(timer)
    await dueq.close({ deadline: '2s' })
    process.off('disconnect', onOrphaned)
    report({ type: 'counts', counts }, () => process.exit())
  })
  report({ type: 'ready' })
}

/** Whether the statement that failed so may have taken effect. */
export function isUnknown(error: unknown): boolean {
  return !isDueqError(error) || error.isOutcomeUnknown
}

// --- internal ---

/** Puts a Date in the place of the one there is, which tells another time; timers and the monotonic clock stay right. */
function shiftableClock(): (shiftMs: number) => void {
  const Real = Date
  let shiftMs = 0
  globalThis.Date = new Proxy(Real, {
    construct: (target, args: unknown[]) =>
      args.length === 0 ? new target(target.now() + shiftMs) : Reflect.construct(target, args),
    get: (target, property) =>
      property === 'now' ? () => target.now() + shiftMs : Reflect.get(target, property, target),
  })
  return (ms) => {
    shiftMs = ms
  }
}
