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
  /** Acks; `onAnswer` is called once: whether it was acked (false: the lease is lost), or the error. */
  send<H extends Held>(held: H, onAnswer: (held: H, answer: Answer) => void): void
  /** The same as a promise. */
  ack(held: Held): Promise<boolean>
  /** Takes the acks that wait into a statement that is about to be sent. */
  board(): Ride | undefined
}

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

type Waiting = {
  readonly held: Held
  readonly id: string
  readonly onAnswer: (held: never, answer: Answer) => void
  /** Before the next try, where another transaction holds the row. */
  pauseMs: number
}

/** Makes the acks of a client. */
export function createAcks(query: Query, statements: Statements): Acks {
  let waiting: Waiting[] = []
  let isInFlight = false
  let isToFlush = false

  const add = (entry: Waiting): void => {
    waiting.push(entry)
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
        refuse(batch, fromDatabase(cause))
      }
    }
    isInFlight = false
  }

  const take = (): readonly Waiting[] | undefined => {
    if (waiting.length === 0) return undefined
    const batch = waiting.length <= maxBatch ? waiting : waiting.slice(0, maxBatch)
    waiting = waiting.length <= maxBatch ? [] : waiting.slice(maxBatch)
    return sortedById(batch)
  }

  const answer = (batch: readonly Waiting[], refused: readonly Outcome[]): void => {
    const outcomeOf = refused.length === 0 ? () => undefined : outcomeLookup(refused)
    for (const entry of batch) {
      const outcome = outcomeOf(entry.held)
      if (outcome === 'busy') tryLater(entry)
      else tell(entry, outcome === undefined)
    }
  }

  const refuse = (batch: readonly Waiting[], error: DueqError): void => {
    for (const entry of batch) tell(entry, error)
  }

  const tryLater = (entry: Waiting): void => {
    const { held, pauseMs } = entry
    if (performance.now() + pauseMs >= held.trustedUntil) tell(entry, busyError(held))
    else {
      entry.pauseMs = Math.min(pauseMs * 2, 500)
      setTimeout(add, pauseMs, entry)
    }
  }

  const send: Acks['send'] = (held, onAnswer) => add({ held, id: held.id, onAnswer, pauseMs: 10 })
  return {
    send,
    ack: (held) =>
      new Promise((resolve, reject) => {
        send(held, (_, result) => (typeof result === 'boolean' ? resolve(result) : reject(result)))
      }),
    board() {
      const batch = take()
      return (
        batch && {
          ...numbersOf(batch),
          arrived: (refused) => answer(batch, refused),
          failed(error) {
            // A look can be refused for reasons of its own (its queue is gone), with nothing done: then the acks go without it.
            if (error.isOutcomeUnknown) refuse(batch, error)
            else
              for (const entry of batch) performance.now() < entry.held.trustedUntil ? add(entry) : tell(entry, error)
          },
        }
      )
    },
  }
}

// --- internal ---

function numbersOf(batch: readonly Waiting[]): {
  readonly ids: readonly string[]
  readonly attempts: readonly number[]
} {
  return { ids: batch.map(({ id }) => id), attempts: batch.map(({ held }) => held.attempt) }
}

function tell({ held, onAnswer }: Waiting, result: Answer): void {
  onAnswer(held as never, result)
}

function busyError({ id }: Held): DueqError {
  return new DueqError(
    'lock.timeout',
    `Message ${id} was not acked: another transaction has held its row until the end of the lease. Look for it with \`dueq doctor\`.`,
  )
}
