// The leases that this process holds: kept alive by one batched extension for each lease length, and watched.
//
//   held -- extended --> held (the trust starts again)
//   held -- settled --> gone
//   held -- the database says lost, or the trust runs out --> lost: the signal aborts, every settle is refused
//
// Invariant: the trust in a lease never outlasts the lease. It is measured on the monotonic clock of this process from the
// moment BEFORE the claim (or extension) was sent, so clocks that differ between hosts do not matter, nor does the time the
// answer took. One failed extension is no lost lease: the next one comes a good while before the trust runs out.
import { LeaseLostError } from './errors.js'
import type { Outcome } from './statements.js'

/** A lease held by this process. `trustedUntil` is on the clock of `performance.now()`, in ms. */
export type Held = {
  readonly id: string
  readonly attempt: number
  readonly leaseMs: number
  trustedUntil: number
  /** Why the lease is lost, once it is. */
  lost: LeaseLostError | undefined
}

/** What a holder gives: the claimed message, and what to call when its lease is lost. */
export type Holding = {
  readonly id: string
  readonly attempt: number
  readonly leaseMs: number
  /** When the claim was sent, by `performance.now()`. */
  readonly sentAt: number
  /** Whether the lease is extended until it is settled, or left to end. */
  readonly isKept: boolean
  readonly onLost: (error: LeaseLostError) => void
}

/** The leases of a process. */
export type Leases = {
  hold(holding: Holding): Held
  /** The database says that the lease is lost. Gives the error to throw. */
  lose(held: Held): LeaseLostError
  /** The lease is settled, or its row is locked by the transaction that settles it: nothing more to keep or to watch. */
  drop(held: Held): void
  /** The end of the lease moved: trusted for `leaseMs` from `sentAt`. */
  extended(held: Held, leaseMs: number, sentAt: number): void
  /** Whether a settle may still be sent. Marks the lease as lost where the trust has run out in the meantime. */
  isTrusted(held: Held): boolean
  close(): void
}

type Extend = (ids: readonly string[], attempts: readonly number[], leaseMs: number) => Promise<readonly Outcome[]>

/** Keeps and watches leases; `extend` sends one batched extension. */
export function createLeases(extend: Extend): Leases {
  const groups = new Map<string, Group>()
  const groupOf = new Map<Held, Group>()

  return {
    hold({ id, attempt, leaseMs, sentAt, isKept, onLost }) {
      const key = `${leaseMs} ${isKept}`
      let group = groups.get(key)
      if (!group)
        groups.set(key, (group = createGroup(leaseMs, isKept ? extend : undefined, (held) => groupOf.delete(held))))
      const held: Held = { id, attempt, leaseMs, trustedUntil: sentAt + leaseMs, lost: undefined }
      groupOf.set(held, group)
      group.add(held, (why) => {
        held.lost = new LeaseLostError(id, attempt, why)
        onLost(held.lost)
      })
      return held
    },
    lose(held) {
      groupOf.get(held)?.lose(held, taken)
      return (held.lost ??= new LeaseLostError(held.id, held.attempt, taken))
    },
    drop(held) {
      groupOf.get(held)?.remove(held)
      groupOf.delete(held)
    },
    extended(held, leaseMs, sentAt) {
      held.trustedUntil = Math.max(held.trustedUntil, sentAt + leaseMs)
      groupOf.get(held)?.moved(held)
    },
    isTrusted(held) {
      if (held.lost) return false
      if (performance.now() < held.trustedUntil) return true
      groupOf.get(held)?.lose(held, ranOut)
      return false
    },
    close() {
      for (const group of groups.values()) group.close()
      groups.clear()
      groupOf.clear()
    },
  }
}

// --- internal ---

const ranOut = 'it was not extended in time'
const taken = 'another consumer has the message, or it was settled or removed'

type Group = {
  add(held: Held, lose: (why: string) => void): void
  remove(held: Held): void
  moved(held: Held): void
  lose(held: Held, why: string): void
  close(): void
}

/**
 * The leases of one length. They are kept in the order in which their trust runs out, which insertion and extension keep
 * by themselves, so that one timer each for watching and extending looks only at the front, however many there are.
 */
function createGroup(leaseMs: number, extend: Extend | undefined, onGone: (held: Held) => void): Group {
  const members = new Map<Held, (why: string) => void>()
  // Extended when a third of the lease is used: two more tries fit before the trust runs out.
  const extendBeforeMs = (leaseMs * 2) / 3
  const retryMs = Math.min(leaseMs / 12, 1000)
  let watchTimer: NodeJS.Timeout | undefined
  let extendTimer: NodeJS.Timeout | undefined
  let isExtending = false

  const lose = (held: Held, why: string): void => {
    const onLost = members.get(held)
    if (!onLost) return
    members.delete(held)
    onGone(held)
    onLost(why)
  }

  const watch = (): void => {
    watchTimer = undefined
    const now = performance.now()
    for (const held of members.keys()) {
      if (held.trustedUntil > now) {
        watchTimer = after(held.trustedUntil - now, watch)
        return
      }
      lose(held, ranOut)
    }
  }

  const extendDue = async (): Promise<void> => {
    extendTimer = undefined
    if (isExtending || !extend) return
    if (!watchTimer) watch()
    const sentAt = performance.now()
    const due: Held[] = []
    for (const held of members.keys()) {
      if (held.trustedUntil <= sentAt) lose(held, ranOut)
      else if (held.trustedUntil - sentAt > extendBeforeMs || due.length === 1000) break
      else due.push(held)
    }
    if (due.length === 0) return armExtend()
    isExtending = true
    let retry = false
    try {
      due.sort((a, b) => a.id.length - b.id.length || (a.id < b.id ? -1 : 1))
      const outcomes = await extend(
        due.map(({ id }) => id),
        due.map(({ attempt }) => attempt),
        leaseMs,
      )
      const exceptions = new Map(outcomes.map(({ id, outcome }) => [id, outcome]))
      for (const held of due) {
        const outcome = exceptions.get(held.id)
        if (outcome === 'lost') lose(held, taken)
        else if (outcome === 'busy') retry = true
        else if (members.has(held)) {
          held.trustedUntil = Math.max(held.trustedUntil, sentAt + leaseMs)
          moved(held)
        }
      }
    } catch {
      retry = true // the watchdog decides; until it does, the next try may succeed
    }
    isExtending = false
    armExtend(retry ? retryMs : 0)
  }

  const armExtend = (atLeastMs = 0): void => {
    const first = members.keys().next().value
    if (!extend || !first || extendTimer || isExtending) return
    const inMs = first.trustedUntil - extendBeforeMs - performance.now()
    extendTimer = after(Math.max(inMs, atLeastMs), () => void extendDue())
  }

  const moved = (held: Held): void => {
    const onLost = members.get(held)
    if (!onLost) return
    members.delete(held)
    members.set(held, onLost)
  }

  return {
    add(held, onLost) {
      members.set(held, onLost)
      watchTimer ??= after(held.trustedUntil - performance.now(), watch)
      armExtend()
    },
    remove: (held) => void members.delete(held),
    moved,
    lose,
    close() {
      clearTimeout(watchTimer)
      clearTimeout(extendTimer)
      members.clear()
    },
  }
}

/** A timer that does not keep the process alive: whoever works on a message does. */
function after(ms: number, run: () => void): NodeJS.Timeout {
  return setTimeout(run, Math.max(Math.ceil(ms), 1)).unref()
}
