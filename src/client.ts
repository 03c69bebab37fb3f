// What the parts of a connected dueq share: where statements run, the leases it holds, who wakes it, whom it tells.
import type { Acks } from './acks.js'
import type { Query } from './driver.js'
import type { Enqueuer } from './enqueuer.js'
import type { Emit } from './events.js'
import type { Leases } from './lease.js'
import { type Duration, durationMs, knownOptions, oneOf } from './options.js'
import type { Pending } from './pending.js'
import type { Returns } from './returns.js'
import type { Room } from './room.js'
import type { Statements } from './statements.js'
import type { Wakeups } from './wakeup.js'
import type { Watches } from './watch.js'

/** The shared parts of a connected dueq. Owned by `connect`. */
export type Client = {
  /** The name under which this process holds leases. */
  readonly name: string
  readonly query: Query
  /** The same, ahead of what else waits for a connection: for settles and extensions. */
  readonly urgent: Query
  /** Whether statements of callers' postgres.js transactions may be prepared. */
  readonly prepare: boolean
  readonly statements: Statements
  /** Sends messages, in few statements. */
  readonly enqueuer: Enqueuer
  /** Where producers wait, before queues at their limit. */
  readonly room: Room
  readonly leases: Leases
  readonly wakeups: Wakeups
  readonly watches: Watches
  readonly emit: Emit
  /** Whether somebody listens to events: those of messages that go well are not even made where nobody does. */
  readonly isHeard: boolean
  /** Acks in batches with other acks of this process. */
  readonly acks: Acks
  /** Nacks and releases in batches. */
  readonly returns: Returns
  /** Settles under way, to be waited for on close. */
  readonly pending: Pending
  /** Queues whose declared settings were compared with the stored ones. */
  readonly compared: Set<string>
  /** Consumers and waiting dequeues, to be stopped on close. */
  readonly open: Set<Stoppable>
}

/** Something that close() stops. */
export type Stoppable = { stop(options: StopOptions): Promise<StopReport> }

export type StopOptions = {
  /**
   * `finish`: handlers under way run to their end, claimed messages not yet started are given back.
   * `release`: as finish, and the signals of handlers under way abort; what they then throw gives the message back.
   * `drain`: goes on until nothing is ready any more.
   * @default 'finish'
   */
  readonly mode?: 'finish' | 'release' | 'drain'
  /** When to give up waiting, from now; then signals abort and what still runs is reported. @default '30s' */
  readonly deadline?: Duration
}

export type StopReport = {
  /** Messages whose handler ended since the stop began, acked or failed. */
  readonly finished: number
  /** Messages given back, unharmed and at once ready for others. */
  readonly released: number
  /** Handlers that still ran at the deadline. Their leases end by themselves, which counts as a failure. */
  readonly stillRunning: number
}

/** Reads the options of a stop. Raises `option.unknown`, `option.invalid`, `duration.invalid`. */
export function checkStop(
  what: string,
  options: StopOptions,
): { readonly mode: NonNullable<StopOptions['mode']>; readonly deadlineMs: number } {
  knownOptions(what, options, ['mode', 'deadline'])
  return {
    mode: oneOf('mode', options.mode ?? 'finish', ['finish', 'release', 'drain']),
    deadlineMs: durationMs('deadline', options.deadline ?? '30s', { max: '1d' }),
  }
}
