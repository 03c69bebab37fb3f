// What the parts of a connected dueq share: where statements run, the leases it holds, who wakes it, whom it tells.
import { coalesce } from './coalesce.js'
import type { Query } from './driver.js'
import { DueqError } from './errors.js'
import type { Emit } from './events.js'
import type { Held, Leases } from './lease.js'
import { type Duration, durationMs, knownOptions, oneOf } from './options.js'
import { outcomeLookup, type Statements, sortedById } from './statements.js'
import type { Wakeups } from './wakeup.js'

/** The shared parts of a connected dueq. Owned by `connect`. */
export type Client = {
  /** The name under which this process holds leases. */
  readonly name: string
  readonly query: Query
  /** Whether statements of callers' postgres.js transactions may be prepared. */
  readonly prepare: boolean
  readonly statements: Statements
  readonly leases: Leases
  readonly wakeups: Wakeups
  readonly emit: Emit
  /** Acks in batches with other acks of this process. False where the lease is lost. */
  readonly ack: (held: Held) => Promise<boolean>
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

/** Acks in batches. A row that another transaction holds is tried again by itself, so that it delays no other message. */
export function createAck(query: Query, statements: Statements): (held: Held) => Promise<boolean> {
  const send = coalesce<Held, 'acked' | 'lost' | 'busy'>(async (batch) => {
    const sorted = sortedById(batch)
    const exceptions = await statements.ackMany(
      query,
      sorted.map(({ id }) => id),
      sorted.map(({ attempt }) => attempt),
    )
    const outcomeOf = outcomeLookup(exceptions)
    return batch.map((held) => outcomeOf(held) ?? 'acked')
  }, 1000)

  return async (held) => {
    for (let waitMs = 10; ; waitMs = Math.min(waitMs * 2, 500)) {
      const outcome = await send(held)
      if (outcome !== 'busy') return outcome === 'acked'
      if (performance.now() + waitMs >= held.trustedUntil)
        throw new DueqError(
          'lock.timeout',
          `Message ${held.id} was not acked: another transaction has held its row until the end of the lease. Look for it with \`dueq doctor\`.`,
        )
      await new Promise((resolve) => setTimeout(resolve, waitMs))
    }
  }
}
