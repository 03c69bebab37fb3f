// How a consumer claims: one loop that sleeps until a hand is free (handlers.ts) and it is its turn to look (watch.ts).
//
//   asleep -- a hand is free, and its turn --> looks, and goes on --.
//      `<-- no hand free, not its turn, or two looks under way -----'
//
// Where messages abound two looks are under way: one is at work in the database while the messages of the other are read and
// handled, and neither waits for the commit of the other (69,000 messages/s with one, 97,000 with two, no more with three).
// Where other processes claim at the same time one is enough: each look passes over all that others have locked (4 processes
// took 108,000 with two looks, 120,000 with one). A look that was alone shows whether there are others.
// While draining it looks for itself: what others found would not tell it that nothing is left.
import { overdueMs } from './agenda.js'
import { claim } from './claim.js'
import type { Client } from './client.js'
import { fromDatabase } from './database-errors.js'
import type { QueueDefinition } from './definition.js'
import { type DueqError, isTransient } from './errors.js'
import type { Handlers } from './handlers.js'
import type { Latch } from './latch.js'
import type { Prefetch } from './prefetch.js'
import type { Seat, Turn } from './watch.js'

/** The claiming of a consumer. */
export type Claiming = {
  /** Claims while the consumer does; settles when the last look is answered. */
  run(): Promise<void>
  /** Looks without waiting for a turn. */
  lookNow(): void
  /** Something changed in the handlers. */
  onChange(): void
}

type Options<Payload> = {
  readonly client: Client
  readonly definition: QueueDefinition
  readonly leaseMs: number | undefined
  readonly prefetch: Prefetch
  readonly handlers: Handlers<Payload>
  readonly seat: Seat
  /** What the loop sleeps on. */
  readonly latch: Latch
  /** The state of the consumer. */
  readonly state: () => string
  /** A draining consumer has found nothing left. */
  readonly onDrained: () => void
  /** Called with the permanent error that ends the consumer. */
  readonly onFailed: (error: DueqError) => void
}

/** Where no handler became free for so long, what waits for one is given back: another process may have hands free. */
const stuckMs = 2_000

const mostLooks = 2

/** So many that hang are left behind, in case the next connection answers; all of them may answer at once in the end. */
const mostOverdue = 2

/** A crowd counts for so long. */
const crowdMs = 500

/** So long two looks are under way, until one by itself shows whether there is a crowd by now. */
const calmMs = 200

/** Makes the claiming of a consumer. */
export function createClaiming<Payload>(options: Options<Payload>): Claiming {
  const { client, definition, leaseMs, prefetch, handlers, seat, latch, state, onDrained, onFailed } = options
  const queue = definition.name
  /** When to look out of turn. */
  let ownLookAt = Number.POSITIVE_INFINITY
  let isWaiting = false
  /** Looks under way, those of them that hang, and how many messages the others asked for. */
  let looks = 0
  let overdue = 0
  let asked = 0
  /** How many looks may be under way; one until the crowd is over, and where there is to be one alone. */
  let most = 1
  let crowdedUntil = 0
  let aloneAt = 0

  const isTaking = (): boolean => state() === 'running' || state() === 'draining'

  const room = (): number => (looks - overdue < most ? prefetch.room(handlers, asked) : 0)

  const look = async (turn: Turn, max: number): Promise<void> => {
    ownLookAt = Number.POSITIVE_INFINITY
    const isAlone = looks === 1
    const { concurrency, running, waiting } = handlers
    const { controls, payloadChars, isCrowded } = await claim<Payload>(client, {
      queue,
      schema: definition.payload,
      max,
      handlers: Math.max(concurrency - running - waiting - (asked - max), 1),
      leaseMs,
      isKept: true,
      turn,
    })
    prefetch.claimed(controls.length, payloadChars)
    if (isAlone && looks === 1 && controls.length === max) {
      const now = performance.now()
      aloneAt = now + calmMs
      if (isCrowded) crowdedUntil = now + crowdMs
    }
    const isBesideOthers = looks > 1 || handlers.hasLapsed
    handlers.take(controls)
    // Two looks know nothing of each other: beside one that has lapsed before nothing waits, whichever of them came first.
    if (!isTaking() || (isBesideOthers && handlers.hasLapsed)) handlers.giveBackWaiting()
    if (state() !== 'draining') return
    const isIdle = looks === 1 && controls.length === 0 && handlers.running === 0 && handlers.settling === 0
    if (isIdle && turn.hint !== null) seat.wake() // only a look at everything can say that nothing is left: it drops the hint
    if (seat.isDue) ownLookAt = 0
    else if (isIdle) onDrained()
  }

  const lookAside = async (turn: Turn, max: number): Promise<void> => {
    looks++
    asked += max
    let isOverdue = false
    const giveUp = (): void => {
      if (!turn.isUnderWay || overdue === mostOverdue) return
      isOverdue = true
      overdue++
      asked -= max
      latch.set()
    }
    const timer = setTimeout(giveUp, overdueMs).unref()
    try {
      await look(turn, max)
    } catch (cause) {
      const error = fromDatabase(cause)
      const retryMs = turn.failed(isTransient(error))
      if (!isTaking() && state() !== 'paused') return
      if (isTransient(error)) {
        if (state() === 'draining') ownLookAt = performance.now() + retryMs
        client.emit({ type: 'consumer.error', queue, error, retryMs })
      } else onFailed(error)
    } finally {
      clearTimeout(timer)
      looks--
      if (isOverdue) overdue--
      else asked -= max
      latch.set()
    }
  }

  return {
    async run() {
      while (isTaking() || state() === 'paused') {
        const now = performance.now()
        most = now < crowdedUntil || now >= aloneAt ? 1 : mostLooks
        const max = isTaking() ? room() : 0
        const stuckAt = handlers.waiting > 0 ? handlers.lastStartAt + stuckMs : Number.POSITIVE_INFINITY
        if (now >= stuckAt) {
          prefetch.handled(stuckMs * handlers.concurrency)
          handlers.giveBackWaiting()
          continue
        }
        if (max === 0) seat.pass()
        const turn = max === 0 ? undefined : now >= ownLookAt ? seat.begin() : seat.take()
        if (turn) {
          void lookAside(turn, max)
          continue
        }
        isWaiting = true
        await latch.wait(max === 0 ? stuckAt : Math.min(stuckAt, ownLookAt))
        isWaiting = false
      }
      while (looks > 0) await latch.wait(Number.POSITIVE_INFINITY)
    },
    lookNow() {
      ownLookAt = 0
    },
    onChange() {
      if (state() === 'draining' && handlers.running === 0) ownLookAt = 0
      // Not for each message: with nothing to claim for, each of these wakes cost more than the handling of a message.
      if (isWaiting && (state() !== 'running' || room() > 0)) latch.set()
    },
  }
}
