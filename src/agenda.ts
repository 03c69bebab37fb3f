// When a consumer looks next: the earliest of what it knows (a notification, the next ready_at, a retry) and the poll
// interval. Instants of the database are turned into instants of this process by the last answer, which carries both.
import type { Polled } from './statements-poll.js'

/** What a look found. `receivedAt` by `performance.now()`. */
export type Look = {
  readonly polled: Polled
  readonly receivedAt: number
}

/** The agenda of a consumer. */
export type Agenda = {
  /** The instant of the next look, by `performance.now()`. */
  readonly at: number
  /** Something is ready at this instant of the database, in ms since 1970; null: look now. */
  wake(readyAtMs: number | null): void
  /** A look begins. What wakes from here on counts for the next one: this one may not see it. */
  begin(): void
  /** The look gave an answer. */
  looked(look: Look): void
  /** The look failed. */
  retryIn(ms: number): void
}

/** Makes an agenda; `pollMs` shortens the stored poll interval. The first look is now. */
export function createAgenda(pollMs: number): Agenda {
  let askedAt = 0
  let pollAt = Number.POSITIVE_INFINITY
  let clock: { readonly localMs: number; readonly databaseMs: number } | undefined

  const wake = (readyAtMs: number | null): void => {
    const at = readyAtMs === null || !clock ? 0 : clock.localMs + readyAtMs - clock.databaseMs
    askedAt = Math.min(askedAt, at)
  }
  return {
    get at() {
      return Math.min(askedAt, pollAt)
    },
    wake,
    begin() {
      askedAt = Number.POSITIVE_INFINITY
    },
    looked({ polled, receivedAt }) {
      clock = { localMs: receivedAt, databaseMs: polled.polledAtMs }
      // Up to a fifth earlier, by chance: consumers that were started or woken together do not poll together for ever.
      pollAt = receivedAt + Math.min(pollMs, polled.pollIntervalMs) * (0.8 + Math.random() / 5)
      if (polled.nextReadyAtMs !== null) wake(polled.nextReadyAtMs)
    },
    retryIn(ms) {
      pollAt = performance.now() + ms // also where the poll interval is over; a wake-up may still come sooner
    },
  }
}
