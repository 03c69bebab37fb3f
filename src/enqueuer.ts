// Who sends prepared messages. The plain one sends each call as a statement, on whatever connection it is given; those of a
// client put coalescing and the throttle of notifications in front of it.
import type { Query } from './driver.js'
import type { Enqueued, Enqueueing, Statements } from './statements.js'

/**
 * Sends messages to a queue. The promises settle after the commit; in a caller's transaction, after the statement.
 * A `deadline` (of `performance.now()`) counts where it comes before that of the statement.
 */
export type Enqueuer = {
  one(queue: string, message: Enqueueing, deadline?: number): Promise<Enqueued>
  /** In one statement, all or none. */
  many(queue: string, messages: readonly Enqueueing[], deadline?: number): Promise<Enqueued[]>
}

/** Sends each call as one statement. */
export function plainEnqueuer(query: Query, statements: Statements): Enqueuer {
  const until = (deadline: number | undefined): Query =>
    deadline === undefined ? query : (text, params) => query(text, params, undefined, deadline)
  return {
    one: (queue, message, deadline) => statements.enqueue(until(deadline), queue, message),
    many: (queue, messages, deadline) => statements.enqueueMany(until(deadline), queue, messages),
  }
}
