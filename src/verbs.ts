// The verbs that settle a message, for its handler and for the consumer: on the connections of dueq, or in a transaction of
// the caller. They check what they are given; whether the message may be settled is up to what holds it (message-control.ts).
import type { Query } from './driver.js'
import { DueqError } from './errors.js'
import type { Held } from './lease.js'
import { errorText, type MessageVerbs } from './message.js'
import { type Duration, describe, durationMs, knownOptions } from './options.js'
import type { Pending } from './pending.js'
import type { Returns } from './returns.js'
import type { Statements } from './statements.js'

/** How an attempt ended. `isInTransaction`: said inside a caller's transaction, so it stands only if that commits. */
export type Settlement = { readonly as: 'acked' | 'retry' | 'dead' | 'released'; readonly isInTransaction: boolean }

/** A message in hand, as its verbs see it. */
export type Settling = Held & {
  settlement: Settlement | undefined
  /** Sends a settle, where the message is not settled and its lease is there. */
  settle<T>(intended: Settlement, send: () => Promise<T | null | false>): Promise<T>
  /** Acks with others. */
  ack(): Promise<boolean>
}

/** Makes the verbs of a message. */
export function createVerbs(
  control: Settling,
  {
    statements,
    returns,
    pending,
  }: { readonly statements: Statements; readonly returns: Returns; readonly pending: Pending },
  query: Query,
  isInTransaction: boolean,
): MessageVerbs {
  const { id, attempt } = control
  const settle = <T>(as: Settlement['as'], send: () => Promise<T | null | false>): Promise<T> => {
    const answer = control.settle({ as, isInTransaction }, send)
    return isInTransaction ? answer : pending.tracked(answer)
  }
  return {
    async ack() {
      const send = isInTransaction ? () => statements.ack(query, id, attempt) : () => control.ack()
      await settle('acked', send)
    },
    async nack(error, options) {
      const delayMs = delayOf('nack', options)
      const send = () =>
        isInTransaction
          ? statements.nack(query, id, attempt, errorText(error), delayMs)
          : returns.nack(control, errorText(error), delayMs)
      const result = await settle('retry', send)
      if (result === 'dead') control.settlement = { as: 'dead', isInTransaction }
      return result
    },
    async release(options) {
      const delayMs = delayOf('release', options)
      const send = () =>
        isInTransaction ? statements.release(query, id, attempt, delayMs) : returns.release(control, delayMs)
      await settle('released', send)
    },
    async deadLetter(reason, error) {
      if (typeof reason !== 'string')
        throw new DueqError('option.invalid', `Expected \`reason\` to be a text, got ${describe(reason)}.`)
      const send = () => statements.deadLetter(query, id, attempt, reason, errorText(error))
      await settle('dead', send)
    },
  }
}

// --- internal ---

function delayOf(verb: string, options: { readonly delay?: Duration } | undefined): number | undefined {
  knownOptions(verb, options, ['delay'])
  return options?.delay === undefined ? undefined : durationMs('delay', options.delay)
}
