// What the engine room knows of a message in the hands of a handler, and its handler must not see.
//
//   leased -- ack | nack | release | deadLetter --> settled      (each attempt settles once)
//   leased -- lease lost --> lost                                (the signal aborts; every verb throws LeaseLostError)
//
// Invariant: a settle is sent only while the lease is trusted, and the database checks the fence (id, attempt) again.
//
// A class, because a claim makes a thousand of them: with a closure for each verb they were most of what the client did.
import type { Acking, Acks, Answer } from './acks.js'
import { askFirst } from './asking-signal.js'
import { nowhere } from './bag.js'
import { type Connection, type Query, transactionQuery } from './driver.js'
import { DueqError, type LeaseLostError } from './errors.js'
import type { Held, LeaseGroup, Leases } from './lease.js'
import { ClaimedMessage, type Message, type MessageParts, type MessageVerbs } from './message.js'
import { type Duration, durationMs } from './options.js'
import type { Pending } from './pending.js'
import type { Returns } from './returns.js'
import type { Statements } from './statements.js'
import type { Delivery } from './statements-poll.js'
import { createVerbs, type Settlement, type Settling } from './verbs.js'

/** What the messages of one claim have in common. */
export type ClaimContext = {
  readonly queue: string
  readonly leases: Leases
  readonly leaseMs: number
  readonly isKept: boolean
  /** When the claim was sent, by `performance.now()`. */
  readonly sentAt: number
  /** The time of the database at the claim, and the end of the lease, in ms since 1970. */
  readonly polledAtMs: number
  readonly leaseEndsAtMs: number
  readonly query: Query
  readonly prepare: boolean
  readonly statements: Statements
  readonly acks: Acks
  readonly returns: Returns
  readonly pending: Pending
  readonly onLost: (control: Held, error: LeaseLostError) => void
}

const acked: Settlement = { as: 'acked', isInTransaction: false }

/** What came of the ack of a handler that returned. */
type OnAnswer<Payload> = (control: MessageControl<Payload>, answer: Answer) => void

/** What few messages need. */
type Extras = {
  verbs?: MessageParts['verbs']
  // Most handlers never ask for the signal, so it is made when one does.
  controller?: AbortController
  stopReason?: unknown
}

/** One message in hand. Making it takes its lease into care. */
export class MessageControl<Payload> implements Acking, Settling, MessageParts {
  readonly id: string
  readonly attempt: number
  /** How careful to be with it: it has lapsed before, so often even that it is handled alone. */
  readonly hasLapsed: boolean
  readonly isSuspect: boolean
  trustedUntil = 0
  isSettling = false
  lost: LeaseLostError | undefined = undefined
  group: LeaseGroup | undefined = undefined
  leasePlace = nowhere
  runningPlace = nowhere
  settlement: Settlement | undefined = undefined
  /** How long its handler ran. */
  runMs = 0
  readonly #claim: ClaimContext
  /** Until the handler has it: what waits for its ack is small, because the garbage collector copies it. */
  #message: ClaimedMessage<Payload> | undefined
  #onAnswer: ((control: never, answer: Answer) => void) | undefined = undefined
  #extras: Extras | undefined = undefined

  constructor(claim: ClaimContext, delivery: Delivery, payload: Payload) {
    this.id = delivery.id
    this.attempt = delivery.attempt
    this.hasLapsed = delivery.lapses > 0
    this.isSuspect = delivery.isSuspect
    this.#claim = claim
    this.#message = new ClaimedMessage(delivery, payload, this)
    claim.leases.hold(this, claim.sentAt, claim.isKept)
  }

  get queue(): string {
    return this.#claim.queue
  }
  get leaseMs(): number {
    return this.#claim.leaseMs
  }
  /** The message for the handler; a control gives it away once. */
  takeMessage(): Message<Payload> {
    const message = this.#message
    if (!message) throw new Error(`Message ${this.id} has its handler already.`)
    this.#message = undefined
    return message
  }
  /** Asks the handler to stop: aborts the signal. */
  abort(reason: unknown): void {
    const extras = (this.#extras ??= {})
    extras.stopReason ??= reason
    extras.controller?.abort(reason)
  }
  onLost(error: LeaseLostError): void {
    this.abort(error)
    this.#claim.onLost(this, error)
  }

  // --- the ack of a handler that returned: no promise, or a few of them would be half of the work

  /** Begins the ack of a message that is not settled yet. False where the lease is lost: nothing may be sent. */
  beginAck(onAnswer: OnAnswer<Payload>): boolean {
    const { leases, acks } = this.#claim
    if (!leases.isTrusted(this)) return false
    this.settlement = acked
    this.isSettling = true
    this.#onAnswer = onAnswer
    acks.send(this)
    return true
  }
  answered(answer: Answer): void {
    this.#onAnswer?.(this as never, answer)
  }
  /** Ends it: acked, or the lease is lost; or there was no answer, and it may be tried again. */
  endAck(answer: Answer): void {
    this.isSettling = false
    if (answer === true) this.#claim.leases.drop(this)
    else this.settlement = undefined
    if (answer === false) this.#claim.leases.lose(this)
  }

  // --- the verbs of the handler, and of what is unusual

  /**
   * Sends a settle. One that failed for another reason than the lease may be tried again, and so may one that was said in
   * a transaction: that may have been rolled back, to be run again, and the fence knows.
   */
  async settle<T>(intended: Settlement, send: () => Promise<T | null | false>): Promise<T> {
    const before = this.settlement
    if (!before) this.#refuseLost()
    else if (!before.isInTransaction) throw this.#settledError(before)
    this.settlement = intended
    this.isSettling = true
    try {
      const result = await send()
      if (result === null || result === false) throw this.#refusal(before)
      // In a caller's transaction the row is locked from here on: nobody else can have it, nothing can extend it.
      this.#claim.leases.drop(this)
      return result
    } catch (error) {
      this.settlement = before
      throw error
    } finally {
      this.isSettling = false
    }
  }

  ack(): Promise<boolean> {
    return new Promise((resolve, reject) => {
      this.#onAnswer = (_, answer) => (typeof answer === 'boolean' ? resolve(answer) : reject(answer))
      this.#claim.acks.send(this)
    })
  }

  // --- what the message is made of

  get leaseEndsAtMs(): number {
    return this.#claim.leaseEndsAtMs
  }
  get nowMs(): number {
    const { polledAtMs, sentAt } = this.#claim
    return polledAtMs + (performance.now() - sentAt)
  }
  get signal(): AbortSignal {
    const extras = (this.#extras ??= {})
    if (!extras.controller) {
      extras.controller = new AbortController()
      askFirst(extras.controller, () => this.settlement || this.#claim.leases.isTrusted(this))
      if (extras.stopReason !== undefined) extras.controller.abort(extras.stopReason)
    }
    return extras.controller.signal
  }
  get verbs(): MessageParts['verbs'] {
    const { query, prepare } = this.#claim
    const extras = (this.#extras ??= {})
    return (extras.verbs ??= {
      ...this.#verbsOn(query, false),
      extend: (lease) => this.#extend(lease),
      in: (transaction: Connection) => this.#verbsOn(transactionQuery(transaction, prepare), true),
    })
  }

  // --- internal ---

  #verbsOn(query: Query, isInTransaction: boolean): MessageVerbs {
    return createVerbs(this, this.#claim, query, isInTransaction)
  }
  async #extend(lease: Duration | undefined): Promise<Date> {
    const { leases, query, statements } = this.#claim
    const extendMs = lease === undefined ? this.leaseMs : durationMs('lease', lease, { min: '1s', max: '12h' })
    if (this.settlement) throw this.#settledError(this.settlement)
    this.#refuseLost()
    const sentAt = performance.now()
    const endsAt = await statements.extend(query, this.id, this.attempt, extendMs)
    if (endsAt === null) throw leases.lose(this)
    leases.extended(this, extendMs, sentAt)
    return new Date(endsAt)
  }

  #refuseLost(): void {
    if (!this.#claim.leases.isTrusted(this)) throw this.lost!
  }
  #settledError({ as }: Settlement): DueqError {
    return new DueqError('message.settled', `Message ${this.id}, attempt ${this.attempt}, is settled already (${as}).`)
  }
  /** Why the database refused: while the lease was still ours, only an earlier settle of our own can be the reason. */
  #refusal(before: Settlement | undefined): DueqError {
    return before && performance.now() < this.trustedUntil ? this.#settledError(before) : this.#claim.leases.lose(this)
  }
}
