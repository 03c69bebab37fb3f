// A message in the hands of a handler: what was enqueued, and the verbs that settle it.
//
//   leased -- ack | nack | release | deadLetter --> settled      (each attempt settles once)
//   leased -- lease lost --> lost                                (the signal aborts; every verb throws LeaseLostError)
//
// Invariant: a settle is sent only while the lease is trusted, and the database checks the fence (id, attempt) again.
import { askFirst } from './asking-signal.js'
import { type Connection, type Query, transactionQuery } from './driver.js'
import { DueqError, type LeaseLostError } from './errors.js'
import type { Held, Leases } from './lease.js'
import { type Duration, describe, durationMs, knownOptions } from './options.js'
import type { Statements } from './statements.js'
import type { Delivery } from './statements-poll.js'

/** A message that this process holds under a lease. */
export type Message<Payload = unknown> = MessageVerbs & {
  readonly id: string
  /** The number of this delivery, from 1. With the id it is the fence of every settle. */
  readonly attempt: number
  readonly queue: string
  readonly payload: Payload
  readonly headers: Readonly<Record<string, unknown>>
  /** From -100 to 100; smaller comes first. */
  readonly priority: number
  /** The instant that the producer asked for. */
  readonly dueAt: Date
  readonly enqueuedAt: Date
  /** By how much the message is late, in ms: from `dueAt` to now where the handler starts, by the clock of the database. */
  readonly latenessMs: number
  /** The end of the lease as it was claimed, by the clock of the database. Extensions move the lease, not this. */
  readonly leaseEndsAt: Date
  /** Failed attempts before this one. */
  readonly failures: number
  /** How many of the failures were lapsed leases. */
  readonly lapses: number
  /** Aborts when the lease is lost, or when the consumer stops and wants the message back. */
  readonly signal: AbortSignal
  /** Moves the end of the lease to `lease` from now (default: the lease of the claim), never to an earlier instant. Gives the end. */
  extend(lease?: Duration): Promise<Date>
  /** The same verbs inside a transaction of yours: they commit or roll back with it. */
  in(transaction: Connection): MessageVerbs
}

/** The verbs that settle a message. All of them throw `lease.lost` or `message.settled`; inside a transaction that is the
 * moment to roll back, which undoes the handler's own writes. */
export type MessageVerbs = {
  /** Done: the message is deleted. */
  ack(): Promise<void>
  /** Failed: ready again after the back-off (or `delay`), or in the dead letters when the budget of failures is used up. */
  nack(error?: unknown, options?: { readonly delay?: Duration }): Promise<'retry' | 'dead'>
  /** Given back, not a failure: ready again at once (or after `delay`). */
  release(options?: { readonly delay?: Duration }): Promise<void>
  /** To the dead letters at once, for a reason that no retry can mend. */
  deadLetter(reason: string, error?: unknown): Promise<void>
}

/** How an attempt ended. `isInTransaction`: said inside a caller's transaction, so it stands only if that commits. */
export type Settlement = { readonly as: 'acked' | 'retry' | 'dead' | 'released'; readonly isInTransaction: boolean }

/** What the engine room knows of a message and its handler must not see. */
export type MessageControl<Payload> = {
  readonly message: Message<Payload>
  readonly held: Held
  /** How careful to be with it: it has lapsed before, so often even that it is handled alone. */
  readonly hasLapsed: boolean
  readonly isSuspect: boolean
  settlement(): Settlement | undefined
  /** Asks the handler to stop: aborts the signal. */
  abort(reason: unknown): void
}

type Parts<Payload> = {
  readonly delivery: Delivery
  readonly payload: Payload
  readonly queue: string
  readonly leases: Leases
  readonly leaseMs: number
  readonly leaseEndsAtMs: number
  readonly isKept: boolean
  /** When the claim was sent, by `performance.now()`, and the time of the database at the claim, in ms since 1970. */
  readonly sentAt: number
  readonly polledAtMs: number
  readonly query: Query
  readonly prepare: boolean
  readonly statements: Statements
  readonly ack: (held: Held) => Promise<boolean>
  readonly onLost: (error: LeaseLostError) => void
}

/** Makes the message that a handler gets, and takes its lease into care. */
export function createMessage<Payload>(parts: Parts<Payload>): MessageControl<Payload> {
  const { delivery, leases, leaseMs, statements } = parts
  const { id, attempt } = delivery
  let settlement: Settlement | undefined
  // Most handlers never ask for the signal, so it is made when one does.
  let controller: AbortController | undefined
  let stopReason: unknown

  const abort = (reason: unknown): void => {
    stopReason ??= reason
    controller?.abort(reason)
  }
  const held = leases.hold({
    id,
    attempt,
    leaseMs,
    sentAt: parts.sentAt,
    isKept: parts.isKept,
    onLost(error) {
      abort(error)
      parts.onLost(error)
    },
  })

  const settledError = ({ as }: Settlement): DueqError =>
    new DueqError('message.settled', `Message ${id}, attempt ${attempt}, is settled already (${as}).`)
  const refuseLost = (): void => {
    if (!leases.isTrusted(held)) throw held.lost!
  }
  /** Why the database refused: while the lease was still ours, only an earlier settle of our own can be the reason. */
  const refusal = (before: Settlement | undefined): DueqError =>
    before && performance.now() < held.trustedUntil ? settledError(before) : leases.lose(held)

  /**
   * Sends a settle. One that failed for another reason than the lease may be tried again, and so may one that was said in
   * a transaction: that may have been rolled back, to be run again, and the fence knows.
   */
  const settle = async <T>(intended: Settlement, send: () => Promise<T | null | false>): Promise<T> => {
    const before = settlement
    if (!before) refuseLost()
    else if (!before.isInTransaction) throw settledError(before)
    settlement = intended
    held.isSettling = true
    try {
      const result = await send()
      if (result === null || result === false) throw refusal(before)
      // In a caller's transaction the row is locked from here on: nobody else can have it, nothing can extend it.
      leases.drop(held)
      return result
    } catch (error) {
      settlement = before
      throw error
    } finally {
      held.isSettling = false
    }
  }

  const verbs = (query: Query, isInTransaction: boolean): MessageVerbs => ({
    async ack() {
      const send = isInTransaction ? () => statements.ack(query, id, attempt) : () => parts.ack(held)
      await settle({ as: 'acked', isInTransaction }, send)
    },
    async nack(error, options) {
      const delayMs = delayOf('nack', options)
      const result = await settle({ as: 'retry', isInTransaction }, () =>
        statements.nack(query, id, attempt, errorText(error), delayMs),
      )
      if (result === 'dead') settlement = { as: 'dead', isInTransaction }
      return result
    },
    async release(options) {
      const delayMs = delayOf('release', options)
      await settle({ as: 'released', isInTransaction }, () => statements.release(query, id, attempt, delayMs))
    },
    async deadLetter(reason, error) {
      if (typeof reason !== 'string')
        throw new DueqError('option.invalid', `Expected \`reason\` to be a text, got ${describe(reason)}.`)
      await settle({ as: 'dead', isInTransaction }, () =>
        statements.deadLetter(query, id, attempt, reason, errorText(error)),
      )
    },
  })

  const { dueAtMs } = delivery
  let latenessMs: number | undefined
  const message: Message<Payload> = {
    id,
    attempt,
    queue: parts.queue,
    payload: parts.payload,
    headers: delivery.headers === null ? {} : JSON.parse(delivery.headers),
    priority: delivery.priority,
    dueAt: new Date(Math.floor(dueAtMs)),
    enqueuedAt: new Date(Math.floor(delivery.enqueuedAtMs)),
    leaseEndsAt: new Date(Math.floor(parts.leaseEndsAtMs)),
    get latenessMs() {
      // Counted from before the claim was sent, so never less than it was.
      latenessMs ??= parts.polledAtMs + (performance.now() - parts.sentAt) - dueAtMs
      return latenessMs
    },
    failures: delivery.failures,
    lapses: delivery.lapses,
    get signal() {
      if (!controller) {
        controller = new AbortController()
        askFirst(controller, () => settlement || leases.isTrusted(held))
        if (stopReason !== undefined) controller.abort(stopReason)
      }
      return controller.signal
    },
    ...verbs(parts.query, false),
    async extend(lease) {
      const extendMs = lease === undefined ? leaseMs : durationMs('lease', lease, { min: '1s', max: '12h' })
      if (settlement) throw settledError(settlement)
      refuseLost()
      const sentAt = performance.now()
      const endsAt = await statements.extend(parts.query, id, attempt, extendMs)
      if (endsAt === null) throw leases.lose(held)
      leases.extended(held, extendMs, sentAt)
      return new Date(endsAt)
    },
    in: (transaction) => verbs(transactionQuery(transaction, parts.prepare), true),
  }
  const { isSuspect, lapses } = delivery
  return { message, held, hasLapsed: lapses > 0, isSuspect, settlement: () => settlement, abort }
}

/** An ISO text with microseconds as ms since 1970, microseconds kept as a fraction. */
export function epochMs(text: string): number {
  const micros = /\.\d{3}(\d{1,3})/.exec(text)?.[1]
  return Date.parse(text) + (micros ? Number(micros.padEnd(3, '0')) / 1000 : 0)
}

/** What is stored as the error of a failed attempt: the stack where there is one, bounded. */
export function errorText(error: unknown): string | null {
  if (error === undefined || error === null) return null
  let text: string
  try {
    text = error instanceof Error ? String(error.stack ?? `${error.name}: ${error.message}`) : String(error)
  } catch {
    text = 'an error that cannot be shown as text' // no prototype, or a toString that throws
  }
  return text.replaceAll('\u0000', '\uFFFD').toWellFormed().slice(0, 4000)
}

// --- internal ---

function delayOf(verb: string, options: { readonly delay?: Duration } | undefined): number | undefined {
  knownOptions(verb, options, ['delay'])
  return options?.delay === undefined ? undefined : durationMs('delay', options.delay)
}
