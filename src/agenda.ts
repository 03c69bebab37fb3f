// When a queue is looked at next: the earliest of what is known (a notification, the next ready_at, a retry) and the poll
// interval. Instants of the database are turned into instants of this process by the answers, which carry both.
//
// Invariant: what is known to be ready stays on the agenda until a look that began later has answered. A look takes it over
// where it begins, and gives it back by failing, or by not answering for a second.
import type { Polled } from './statements-poll.js'

/** What a look found. Its own instants are by `performance.now()`. */
export type Look = {
  readonly polled: Polled
  readonly sentAt: number
  readonly receivedAt: number
}

/** The agenda of a queue. Looks are told apart by the number that `begin` gives. */
export type Agenda = {
  /** The instant of the next look, by `performance.now()`; `pollMs` shortens the stored poll interval. */
  at(pollMs: number): number
  /** Something is ready at this instant of the database, in ms since 1970; null: look now. */
  wake(readyAtMs: number | null): void
  /** A look begins. What wakes from here on counts for the next one: this one may not see it. */
  begin(): number
  /** The look gave an answer. */
  answered(no: number, look: Look): void
  /** The look failed, and is repeated after so many ms. */
  failed(no: number): number
}

/** A look that has not answered for so long, in ms, holds nobody up any more. */
export const overdueMs = 1_000

const firstRetryMs = 50
const longestRetryMs = 1_000

/** Makes an agenda with nothing on it. */
export function createAgenda(): Agenda {
  const sendAt = createSendAt()
  let askedAt = Number.POSITIVE_INFINITY
  /** Instead of the poll: where the last look is to be repeated. */
  let repeatAt: number | undefined = Number.POSITIVE_INFINITY
  let lastNo = 0
  let failureCount = 0
  let answeredAt = 0
  let storedPollMs = Number.POSITIVE_INFINITY
  let jitter = 1

  const wake = (readyAtMs: number | null): void => {
    askedAt = Math.min(askedAt, readyAtMs === null ? 0 : sendAt.for(readyAtMs))
  }
  return {
    at: (pollMs) => Math.min(askedAt, repeatAt ?? answeredAt + Math.min(pollMs, storedPollMs) * jitter),
    wake,
    begin() {
      askedAt = Number.POSITIVE_INFINITY
      repeatAt = performance.now() + overdueMs
      return ++lastNo
    },
    answered(no, { polled, sentAt, receivedAt }) {
      failureCount = 0
      sendAt.sample(sentAt, polled.polledAtMs)
      if (polled.nextReadyAtMs !== null) wake(polled.nextReadyAtMs)
      if (no !== lastNo) return // one that began later counts, or is to be repeated
      repeatAt = undefined
      answeredAt = receivedAt
      storedPollMs = polled.pollIntervalMs
      // Up to a tenth earlier, by chance: processes that were started or woken together do not poll together for ever.
      jitter = 0.9 + Math.random() / 10
    },
    failed(no) {
      const retryMs = Math.min(firstRetryMs * 2 ** failureCount++, longestRetryMs) * (0.75 + Math.random() / 2)
      // Also where the poll interval is over; a wake-up may still come sooner. What an earlier look had taken over, one that
      // began later has seen, or will.
      if (no === lastNo) repeatAt = performance.now() + retryMs
      return retryMs
    },
  }
}

// --- internal ---

/** A sample that is so far off, in ms, tells of a clock that was set, not of a slow request. */
const stepMs = 50
/** How far the clocks of two machines drift apart at most. */
const drift = 1e-4

/**
 * When to send a look that is to reach the database at an instant of its clock: as long before as the fastest look took to
 * get there. Counted from the answers instead, each would come later than needed by the time of an answer.
 */
function createSendAt() {
  let aheadMs: number | undefined
  let sampledAt = 0
  return {
    /** A look was sent at this instant and read the clock of the database at that one. */
    sample(sentAt: number, databaseMs: number): void {
      const sample = sentAt - databaseMs
      const drifted = aheadMs === undefined ? sample : aheadMs - (sentAt - sampledAt) * drift
      aheadMs = drifted - sample > stepMs ? sample : Math.max(drifted, sample)
      sampledAt = sentAt
    },
    for: (databaseMs: number): number => (aheadMs === undefined ? 0 : databaseMs + aheadMs),
  }
}
