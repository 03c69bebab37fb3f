// What the engine room knows of a message in the hands of a handler, and its handler must not see.
//
//   leased -- ack | nack | release | deadLetter --> settled      (each attempt settles once)
//   leased -- lease lost --> lost                                (the signal aborts; every verb throws LeaseLostError)
//
// Invariant: a settle is sent only while the lease is trusted, and the database checks the fence (id, attempt) again.
//
// A class, because a claim makes a thousand of them: with a closure for each verb they were most of what the client did.
import type { Acks } from './acks.js'
import { askFirst } from './asking-signal.js'
import { type Connection, type Query, transactionQuery } from './driver.js'
import { DueqError, type LeaseLostError } from './errors.js'
import type { Held, LeaseGroup, Leases } from './lease.js'
import { ClaimedMessage, errorText, type Message, type MessageParts, type MessageVerbs } from './message.js'
import { type Duration, describe, durationMs, knownOptions } from './options.js'
import type { Returns } from './returns.js'
import type { Statements } from './statements.js'
import type { Delivery } from './statements-poll.js'

/** How an attempt ended. `isInTransaction`: said inside a caller's transaction, so it stands only if that commits. */
export type Settlement = { readonly as: 'acked' | 'retry' | 'dead' | 'released'; readonly isInTransaction: boolean }

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
  readonly onLost: (control: Held, error: LeaseLostError) => void
}

const acked: Settlement = { as: 'acked', isInTransaction: false }

/** One message in hand. Making it takes its lease into care. */
export class MessageControl<Payload> implements Held, MessageParts {
  readonly id: string
  readonly attempt: number
  readonly leaseMs: number
  readonly message: Message<Payload>
  trustedUntil = 0
  isSettling = false
  lost: LeaseLostError | undefined = undefined
  group: LeaseGroup | undefined = undefined
  settlement: Settlement | undefined = undefined
  readonly #claim: ClaimContext
  readonly #delivery: Delivery
  #headers: Readonly<Record<string, unknown>> | undefined = undefined
  #latenessMs: number | undefined = undefined
  #verbs: MessageParts['verbs'] | undefined = undefined
  // Most handlers never ask for the signal, so it is made when one does.
  #controller: AbortController | undefined = undefined
  #stopReason: unknown = undefined

  constructor(claim: ClaimContext, delivery: Delivery, payload: Payload) {
    this.id = delivery.id
    this.attempt = delivery.attempt
    this.leaseMs = claim.leaseMs
    this.#claim = claim
    this.#delivery = delivery
    this.message = new ClaimedMessage(delivery, claim.queue, payload, this)
    claim.leases.hold(this, claim.sentAt, claim.isKept)
  }

  /** How careful to be with it: it has lapsed before, so often even that it is handled alone. */
  get hasLapsed(): boolean {
    return this.#delivery.lapses > 0
  }
  get isSuspect(): boolean {
    return this.#delivery.isSuspect
  }

  /** Asks the handler to stop: aborts the signal. */
  abort(reason: unknown): void {
    this.#stopReason ??= reason
    this.#controller?.abort(reason)
  }
  onLost(error: LeaseLostError): void {
    this.abort(error)
    this.#claim.onLost(this, error)
  }

  // --- the ack of a handler that returned: no promise, or a few of them would be half of the work

  /** Begins the ack of a message that is not settled yet. False where the lease is lost: nothing may be sent. */
  beginAck(): boolean {
    if (!this.#claim.leases.isTrusted(this)) return false
    this.settlement = acked
    this.isSettling = true
    return true
  }
  /** The answer to it; `undefined` where there was none, and it may be tried again. */
  endAck(isAcked: boolean | undefined): void {
    this.isSettling = false
    if (isAcked) this.#claim.leases.drop(this)
    else this.settlement = undefined
    if (isAcked === false) this.#claim.leases.lose(this)
  }

  // --- what the message is made of

  get headers(): Readonly<Record<string, unknown>> {
    const { headers } = this.#delivery
    return (this.#headers ??= headers === null ? {} : JSON.parse(headers))
  }
  get dueAtMs(): number {
    return this.#delivery.dueAtMs
  }
  get enqueuedAtMs(): number {
    return this.#delivery.enqueuedAtMs
  }
  get leaseEndsAtMs(): number {
    return this.#claim.leaseEndsAtMs
  }
  get latenessMs(): number {
    // Counted from before the claim was sent, so never less than it was.
    const { polledAtMs, sentAt } = this.#claim
    return (this.#latenessMs ??= polledAtMs + (performance.now() - sentAt) - this.#delivery.dueAtMs)
  }
  get signal(): AbortSignal {
    if (!this.#controller) {
      this.#controller = new AbortController()
      askFirst(this.#controller, () => this.settlement || this.#claim.leases.isTrusted(this))
      if (this.#stopReason !== undefined) this.#controller.abort(this.#stopReason)
    }
    return this.#controller.signal
  }
  get verbs(): MessageParts['verbs'] {
    const { query, prepare } = this.#claim
    return (this.#verbs ??= {
      ...this.#verbsOn(query, false),
      extend: (lease) => this.#extend(lease),
      in: (transaction: Connection) => this.#verbsOn(transactionQuery(transaction, prepare), true),
    })
  }

  // --- internal ---

  #verbsOn(query: Query, isInTransaction: boolean): MessageVerbs {
    const { id, attempt } = this
    const { statements, acks, returns } = this.#claim
    return {
      ack: async () => {
        const send = isInTransaction ? () => statements.ack(query, id, attempt) : () => acks.ack(this)
        await this.#settle({ as: 'acked', isInTransaction }, send)
      },
      nack: async (error, options) => {
        const delayMs = delayOf('nack', options)
        const send = () =>
          isInTransaction
            ? statements.nack(query, id, attempt, errorText(error), delayMs)
            : returns.nack(this, errorText(error), delayMs)
        const result = await this.#settle({ as: 'retry', isInTransaction }, send)
        if (result === 'dead') this.settlement = { as: 'dead', isInTransaction }
        return result
      },
      release: async (options) => {
        const delayMs = delayOf('release', options)
        const send = () =>
          isInTransaction ? statements.release(query, id, attempt, delayMs) : returns.release(this, delayMs)
        await this.#settle({ as: 'released', isInTransaction }, send)
      },
      deadLetter: async (reason, error) => {
        if (typeof reason !== 'string')
          throw new DueqError('option.invalid', `Expected \`reason\` to be a text, got ${describe(reason)}.`)
        const send = () => statements.deadLetter(query, id, attempt, reason, errorText(error))
        await this.#settle({ as: 'dead', isInTransaction }, send)
      },
    }
  }

  /**
   * Sends a settle. One that failed for another reason than the lease may be tried again, and so may one that was said in
   * a transaction: that may have been rolled back, to be run again, and the fence knows.
   */
  async #settle<T>(intended: Settlement, send: () => Promise<T | null | false>): Promise<T> {
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

function delayOf(verb: string, options: { readonly delay?: Duration } | undefined): number | undefined {
  knownOptions(verb, options, ['delay'])
  return options?.delay === undefined ? undefined : durationMs('delay', options.delay)
}
