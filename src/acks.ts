// The acks of a client, in as few statements as can be: those that come in one turn of the event loop go together, those that
// come while a statement is in flight go in the next one, and those that wait when a consumer looks go with its look.
//
//   waiting -- end of the turn, no ack statement in flight --> sent by themselves --.
//      |`-- a look is about to be sent --> ride in it ------------------------------+--> answered
//      `<-- the look was refused: the acks were not tried --------------------------'
//
// Invariants: an ack waits for nothing but a statement of its own kind, so a lone one is sent at once. A row that another
// transaction holds is tried again by itself, so that it delays no other message.
import { fromDatabase } from './database-errors.js'
import type { Query } from './driver.js'
import { DueqError } from './errors.js'
import type { Held } from './lease.js'
import type { Statements } from './statements.js'
import { type Outcome, outcomeLookup, sortedById } from './statements-settle.js'

/** The acks of a client. */
export type Acks = {
  /** Acks; `answered` of what is acked is called once. */
  send(acking: Acking): void
  /** Takes the acks that wait into a statement that is about to be sent. */
  board(): Ride | undefined
}

/** What is acked hears of it itself, so that an ack takes no objects of its own. */
export type Acking = Held & { answered(answer: Answer): void }

/** Whether it was acked (false: the lease is lost), or why that is unknown or was not done. */
export type Answer = boolean | DueqError

/** Acks in a statement: its owner says what became of them, once. */
export type Ride = {
  readonly ids: readonly string[]
  readonly attempts: readonly number[]
  /** Those that the database refused; the others are acked. */
  arrived(refused: readonly Outcome[]): void
  failed(error: DueqError): void
}

/** The most acks of one statement. */
const maxBatch = 1000

/** Between two tries of an ack whose row another transaction holds: from the first doubling to the last, in ms. */
const firstPauseMs = 10
const lastPauseMs = 500

/** Makes the acks of a client. */
export function createAcks(query: Query, statements: Statements): Acks {
  let waiting: Acking[] = []
  let isInFlight = false
  let isToFlush = false
  /** The last pause of those that were tried in vain. */
  const pauses = new WeakMap<Acking, number>()

  const send = (acking: Acking): void => {
    waiting.push(acking)
    flushSoon()
  }
  /** After everything that this turn brings: the messages of a claim whose handlers return at once are acked together. */
  const flushSoon = (): void => {
    if (isToFlush || isInFlight) return
    isToFlush = true
    process.nextTick(() => {
      isToFlush = false
      void flush()
    })
  }

  const flush = async (): Promise<void> => {
    if (isInFlight) return
    isInFlight = true
    for (let batch = take(); batch; batch = take()) {
      const { ids, attempts } = numbersOf(batch)
      try {
        answer(batch, await statements.ackMany(query, ids, attempts))
      } catch (cause) {
        const error = fromDatabase(cause)
        for (const acking of batch) acking.answered(error)
      }
    }
    isInFlight = false
  }

  const take = (): readonly Acking[] | undefined => {
    if (waiting.length === 0) return undefined
    const batch = waiting.length <= maxBatch ? waiting : waiting.slice(0, maxBatch)
    waiting = waiting.length <= maxBatch ? [] : waiting.slice(maxBatch)
    return sortedById(batch)
  }

  const answer = (batch: readonly Acking[], refused: readonly Outcome[]): void => {
    const outcomeOf = refused.length === 0 ? () => undefined : outcomeLookup(refused)
    for (const acking of batch) {
      const outcome = outcomeOf(acking)
      if (outcome === 'busy') tryLater(acking)
      else acking.answered(outcome === undefined)
    }
  }

  const tryLater = (acking: Acking): void => {
    const pauseMs = Math.min((pauses.get(acking) ?? firstPauseMs / 2) * 2, lastPauseMs)
    pauses.set(acking, pauseMs)
    if (performance.now() + pauseMs >= acking.trustedUntil) acking.answered(busyError(acking))
    else setTimeout(send, pauseMs, acking)
  }

  return {
    send,
    board() {
      const batch = take()
      return (
        batch && {
          ...numbersOf(batch),
          arrived: (refused) => answer(batch, refused),
          failed(error) {
            for (const acking of batch) {
              // A look can be refused for reasons of its own (its queue is gone), with nothing done: then the acks go without it.
              if (error.isOutcomeUnknown || performance.now() >= acking.trustedUntil) acking.answered(error)
              else send(acking)
            }
          },
        }
      )
    },
  }
}

// --- internal ---

function numbersOf(batch: readonly Held[]): { readonly ids: readonly string[]; readonly attempts: readonly number[] } {
  return { ids: batch.map(({ id }) => id), attempts: batch.map(({ attempt }) => attempt) }
}

function busyError({ id }: Held): DueqError {
  return new DueqError(
    'lock.timeout',
    `Message ${id} was not acked: another transaction has held its row until the end of the lease. Look for it with \`dueq doctor\`.`,
  )
}
