// Who sends prepared messages. The plain one sends each call as a statement, on whatever connection it is given; those of a
// client put coalescing and the throttle of notifications in front of it.
import type { Query } from './driver.js'
import type { Statements } from './statements.js'
import type { Enqueued, Enqueueing } from './statements-produce.js'

/**
 * Sends messages to a queue. The promises settle after the commit; in a caller's transaction, after the statement.
 * A `deadline` (of `performance.now()`) counts where it comes before that of the statement.
 */
export type Enqueuer = {
  one(queue: string, message: Enqueueing, deadline?: number): Promise<Enqueued>
  /** In one statement, all or none. */
  many(queue: string, messages: readonly Enqueueing[], deadline?: number): Promise<Enqueued[]>
}

/** Sends each call as one statement, which notifies where somebody sleeps. */
export function plainEnqueuer(query: Query, statements: Statements): Enqueuer {
  const sender = createSender(query, statements)
  return {
    one: (queue, message, deadline) => sender.one(queue, message, true, deadline),
    many: (queue, messages, deadline) => sender.many(queue, messages, true, deadline),
  }
}

/** Sends statements that may leave it to `wake` to tell consumers. */
export type Sender = {
  one(queue: string, message: Enqueueing, isWaking: boolean, deadline?: number): Promise<Enqueued>
  many(queue: string, messages: readonly Enqueueing[], isWaking: boolean, deadline?: number): Promise<Enqueued[]>
  /** For messages of which the first was due `agoMs` ago; below 0: will be. */
  wake(queue: string, agoMs: number): Promise<void>
}

export function createSender(query: Query, statements: Statements): Sender {
  const until = (deadline: number | undefined): Query =>
    deadline === undefined ? query : (text, params) => query(text, params, undefined, deadline)
  return {
    one: (queue, message, isWaking, deadline) => statements.enqueue(until(deadline), queue, message, isWaking),
    many: (queue, messages, isWaking, deadline) => statements.enqueueMany(until(deadline), queue, messages, isWaking),
    wake: (queue, agoMs) => statements.wake(query, queue, agoMs),
  }
}
