// A message in the hands of a handler: what was enqueued, and the verbs that settle it.
//
// A claim brings a thousand messages at once, and most handlers ask for little more than the payload. So a message is made of
// its plain fields, and the rest (headers, dates, the signal, the verbs) when it is asked for: made at once they took the client
// more time than the message took the server.
import type { Connection } from './driver.js'
import type { Duration } from './options.js'

/**
 * A message that this process holds under a lease. Take from it what you need, verbs included: `({ payload, signal, ack }) => …`.
 * A copy by spread has the plain fields only.
 */
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

/** What was enqueued, as it comes from the database. Instants in ms since 1970. */
export type Enqueued = Pick<Message, 'id' | 'attempt' | 'priority' | 'failures' | 'lapses'> & {
  /** JSON text; null: none. */
  readonly headers: string | null
  readonly dueAtMs: number
  readonly enqueuedAtMs: number
}

/** What makes the parts of a message that belong to its claim, when they are asked for. */
export type MessageParts = {
  readonly queue: string
  readonly leaseEndsAtMs: number
  /** Now, by the clock of the database, counted from before the claim was sent: never less than it is. */
  readonly nowMs: number
  readonly signal: AbortSignal
  readonly verbs: MessageVerbs & Pick<Message, 'extend' | 'in'>
}

/** The message that a handler gets. Its parts are out of a handler's reach. */
export class ClaimedMessage<Payload> implements Message<Payload> {
  readonly id: string
  readonly attempt: number
  readonly queue: string
  readonly payload: Payload
  readonly priority: number
  readonly failures: number
  readonly lapses: number
  readonly #enqueued: Enqueued
  readonly #parts: MessageParts
  #headers: Message['headers'] | undefined = undefined
  #latenessMs: number | undefined = undefined

  constructor(enqueued: Enqueued, payload: Payload, parts: MessageParts) {
    this.id = enqueued.id
    this.attempt = enqueued.attempt
    this.queue = parts.queue
    this.payload = payload
    this.priority = enqueued.priority
    this.failures = enqueued.failures
    this.lapses = enqueued.lapses
    this.#enqueued = enqueued
    this.#parts = parts
  }
  get headers() {
    const { headers } = this.#enqueued
    return (this.#headers ??= headers === null ? {} : (JSON.parse(headers) as Message['headers']))
  }
  get dueAt() {
    return dateOf(this.#enqueued.dueAtMs)
  }
  get enqueuedAt() {
    return dateOf(this.#enqueued.enqueuedAtMs)
  }
  get leaseEndsAt() {
    return dateOf(this.#parts.leaseEndsAtMs)
  }
  get latenessMs() {
    return (this.#latenessMs ??= this.#parts.nowMs - this.#enqueued.dueAtMs)
  }
  get signal() {
    return this.#parts.signal
  }
  get ack() {
    return this.#parts.verbs.ack
  }
  get nack() {
    return this.#parts.verbs.nack
  }
  get release() {
    return this.#parts.verbs.release
  }
  get deadLetter() {
    return this.#parts.verbs.deadLetter
  }
  get extend() {
    return this.#parts.verbs.extend
  }
  get in() {
    return this.#parts.verbs.in
  }
  /** For logs: what was enqueued and when, without the verbs. */
  toJSON(): object {
    const { headers, dueAt, enqueuedAt, latenessMs, leaseEndsAt } = this
    return { ...this, headers, dueAt, enqueuedAt, latenessMs, leaseEndsAt }
  }
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

/** The millisecond of an instant, before 1970 too: made a Date as it is, its fraction would be cut off towards 1970. */
function dateOf(ms: number): Date {
  return new Date(Math.floor(ms))
}
