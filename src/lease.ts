// The leases that this process holds: kept alive by one batched extension for each lease length, and watched.
//   held -- extended --> held (the trust starts again)
//   held -- settled --> gone
//   held -- the database says lost, or the trust runs out --> lost: the signal aborts, every settle is refused
//
// Invariant: the trust in a lease never outlasts the lease. It is measured on the monotonic clock of this process from the
// moment BEFORE the claim (or extension) was sent, so clocks that differ between hosts do not matter, nor does the time the
// answer took. One extension that failed or hangs is no lost lease: two more are sent before the trust runs out.
import { createAlarm } from './alarm.js'
import { createBag } from './bag.js'
import { LeaseLostError } from './errors.js'
import { type Outcome, outcomeLookup, sortedById } from './statements-settle.js'

/**
 * A lease held by this process: what its holder keeps of it, so that a lease takes no objects of its own (a claim brings a
 * thousand at once). `trustedUntil` is on the clock of `performance.now()`, in ms.
 */
export type Held = {
  readonly id: string
  readonly attempt: number
  readonly leaseMs: number
  trustedUntil: number
  /** A settle is on its way: its answer says whether the lease was there, an extension after it cannot. */
  isSettling: boolean
  /** Why the lease is lost, once it is. */
  lost: LeaseLostError | undefined
  /** Where it is watched; set by `hold`. */
  group: LeaseGroup | undefined
  /** Its place there; set by the group, `nowhere` in the beginning. */
  leasePlace: number
  /** Called when the lease is lost. */
  onLost(error: LeaseLostError): void
}

/** The leases of a process. */
export type Leases = {
  /** Takes a lease into care. `sentAt`: when the claim was sent; `isKept`: whether it is extended until it is settled, or left to end. */
  hold(held: Held, sentAt: number, isKept: boolean): void
  /** The database says that the lease is lost. Gives the error to throw. */
  lose(held: Held): LeaseLostError
  /** The lease is settled, or its row is locked by the transaction that settles it: nothing more to keep or to watch. */
  drop(held: Held): void
  /** The end of the lease moved: trusted for `leaseMs` from `sentAt`. */
  extended(held: Held, leaseMs: number, sentAt: number): void
  /** Whether a settle may still be sent. Marks the lease as lost where the trust has run out in the meantime. */
  isTrusted(held: Held, now?: number): boolean
  close(): void
}

type Extend = (ids: readonly string[], attempts: readonly number[], leaseMs: number) => Promise<readonly Outcome[]>

/** Keeps and watches leases; `extend` sends one batched extension. */
export function createLeases(extend: Extend): Leases {
  const groups = new Map<number, LeaseGroup>()

  return {
    hold(held, sentAt, isKept) {
      const { leaseMs } = held
      const key = isKept ? leaseMs : 0 // what is only watched is one group: callers of dequeue may give any length, each another
      let group = groups.get(key)
      if (!group) groups.set(key, (group = createGroup(leaseMs, isKept ? extend : undefined)))
      held.trustedUntil = trustEnd(sentAt, leaseMs)
      held.group = group
      group.add(held)
    },
    lose(held) {
      held.group?.lose(held, taken)
      return (held.lost ??= new LeaseLostError(held.id, held.attempt, taken))
    },
    drop(held) {
      held.group?.remove(held)
    },
    extended(held, leaseMs, sentAt) {
      held.trustedUntil = Math.max(held.trustedUntil, trustEnd(sentAt, leaseMs))
    },
    isTrusted(held, now = performance.now()) {
      if (held.lost) return false
      if (now < held.trustedUntil) return true
      held.group?.lose(held, ranOut)
      held.lost ??= new LeaseLostError(held.id, held.attempt, ranOut) // one that was dropped has no group
      return false
    },
    close() {
      for (const group of groups.values()) group.close()
      groups.clear()
    },
  }
}

// --- internal ---

/** Short of the end of the lease by what a timer may fire late, and by what two clocks may differ in rate. */
function trustEnd(sentAt: number, leaseMs: number): number {
  return sentAt + leaseMs - 10 - leaseMs / 1000
}

const ranOut = 'it was not extended in time'
const taken = 'another consumer has the message, or it was settled or removed'
const maxBatch = 1000

/** The leases of one length. */
export type LeaseGroup = {
  add(held: Held): void
  remove(held: Held): void
  lose(held: Held, why: string): void
  close(): void
}

/**
 * The leases of one length, with one alarm for watching and one for extending. The order in which they run out is not the
 * order in which they came (claims overtake each other, handlers extend by lengths of their own), so an alarm looks at all
 * of them; it goes off a few times per lease length, and a few thousand leases take it less than a millisecond.
 */
function createGroup(leaseMs: number, extend: Extend | undefined): LeaseGroup {
  const members = createBag<'leasePlace', Held>('leasePlace')
  // The first is extended when a third of its lease is used, and all those of which a sixth is used go with it: a
  // statement per sixth of the lease at most, however the claims were spread.
  const extendBeforeMs = (leaseMs * 2) / 3
  const goAlongBeforeMs = (leaseMs * 5) / 6
  const retryMs = Math.min(leaseMs / 12, 1000)
  let isExtending = false

  const lose = (held: Held, why: string): void => {
    if (!members.delete(held)) return
    held.group = undefined
    held.lost = new LeaseLostError(held.id, held.attempt, why)
    held.onLost(held.lost)
  }

  const watch = createAlarm(() => {
    const now = performance.now()
    let firstAt = Number.POSITIVE_INFINITY
    for (const held of members.all()) {
      // Where a settle is on its way its answer decides, if one comes: in a transaction that was lost none ever does.
      const isAwaited = held.isSettling && now < held.trustedUntil + held.leaseMs
      const lookAt = isAwaited ? Math.max(held.trustedUntil, now + retryMs) : held.trustedUntil
      if (lookAt > now) firstAt = Math.min(firstAt, lookAt)
      else lose(held, ranOut)
    }
    watch.arm(firstAt)
  })

  /** Sends one extension; true where there is something to repeat. An answer counts however late it comes. */
  const send = async (extend: Extend, batch: readonly Held[]): Promise<boolean> => {
    const sentAt = performance.now()
    try {
      const outcomes = await extend(
        batch.map(({ id }) => id),
        batch.map(({ attempt }) => attempt),
        leaseMs,
      )
      const outcomeOf = outcomeLookup(outcomes)
      for (const held of batch) {
        const outcome = outcomeOf(held)
        if (outcome === 'lost' && !held.isSettling) lose(held, taken)
        else if (outcome === undefined) held.trustedUntil = Math.max(held.trustedUntil, trustEnd(sentAt, leaseMs))
      }
      return outcomes.length > 0
    } catch {
      return true // the watch decides; until it does, the next try may succeed
    }
  }

  const extending = createAlarm(async () => {
    if (!extend || isExtending) return
    const now = performance.now()
    const due: Held[] = []
    let firstUntil = Number.POSITIVE_INFINITY
    for (const held of members.all()) {
      if (held.trustedUntil <= now) continue
      firstUntil = Math.min(firstUntil, held.trustedUntil)
      if (held.trustedUntil - now <= goAlongBeforeMs) due.push(held)
    }
    if (firstUntil - now > extendBeforeMs) return extending.arm(firstUntil - extendBeforeMs)
    due.sort((a, b) => a.trustedUntil - b.trustedUntil)
    const batch = sortedById(due.slice(0, maxBatch))
    isExtending = true
    const isToRepeat = await orTrueAfter(leaseMs / 5, send(extend, batch))
    isExtending = false
    if (members.size > 0) extending.arm(performance.now() + (isToRepeat ? retryMs : 0))
  })

  return {
    add(held) {
      members.add(held)
      watch.arm(held.trustedUntil)
      if (extend && !isExtending) extending.arm(held.trustedUntil - extendBeforeMs)
    },
    remove(held) {
      members.delete(held)
      held.group = undefined
    },
    lose,
    close() {
      members.clear()
      watch.clear()
      extending.clear()
    },
  }
}

function orTrueAfter(ms: number, outcome: Promise<boolean>): Promise<boolean> {
  return new Promise((resolve) => {
    const timer = setTimeout(resolve, ms, true).unref()
    void outcome.then((value) => {
      clearTimeout(timer)
      resolve(value)
    })
  })
}
