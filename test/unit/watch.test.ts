import fc from 'fast-check'
import { afterEach, beforeEach, expect, it, vi } from 'vitest'
import type { Look } from '../../src/agenda.js'
import type { OnWake, Wakeups } from '../../src/wakeup.js'
import { createWatches, type Seat, type Turn, type Watches } from '../../src/watch.js'

beforeEach(() => void vi.useFakeTimers({ now: 1_000_000 }))
afterEach(() => void vi.useRealTimers())

const pollMs = 5_000
const overdueMs = 1_000
const lingerMs = 5_000
/** The longest pause before a failed look is repeated. */
const retryMs = 1_250

/** A watch without a database: its looks answer when the test says so. */
function startWatch(): { readonly watches: Watches; readonly wake: OnWake } {
  let onWake: OnWake = () => {}
  const wakeups: Wakeups = {
    subscribe(_, subscriber) {
      onWake = subscriber
      subscriber(null)
      return () => {}
    },
    doubt() {},
    isUp: true,
    close: async () => {},
  }
  return { watches: createWatches(wakeups), wake: (at) => onWake(at) }
}

/** An answer of a database whose clock is that of this process. `nextInMs` 0: there may be more now; null: nothing known. */
function answer(nextInMs: number | null): Look {
  const now = performance.now()
  const polled = {
    deliveries: [],
    payloadChars: 0,
    polledAtMs: now,
    leaseEndsAtMs: now,
    nextReadyAtMs: nextInMs === null ? null : now + nextInMs,
    pollIntervalMs: pollMs,
    hint: null,
    refusedAcks: [],
    isCrowded: false,
  }
  return { polled, sentAt: now, receivedAt: now }
}

/** One who takes every turn at once. */
function eager(watches: Watches, options: { readonly pollMs?: number } = {}) {
  const turns: Turn[] = []
  const take = (): void => {
    const turn = seat.take()
    if (turn) turns.push(turn)
  }
  const seat: Seat = watches.join('q', { pollMs: options.pollMs ?? Number.POSITIVE_INFINITY, onTurn: () => take() })
  take()
  return { seat, turns, take }
}

it('of 16 that wait one looks in a poll interval and one for a wake-up, each in its turn', () => {
  const { watches, wake } = startWatch()
  const all = Array.from({ length: 16 }, () => eager(watches))
  const count = (): number => all.reduce((sum, { turns }) => sum + turns.length, 0)
  const settle = (): void => {
    for (const { turns, take } of all)
      if (turns.length > 0) {
        turns.pop()!.answered(answer(null))
        looked++
        take()
      }
  }
  let looked = 0
  expect(count()).toBe(1)
  settle()
  vi.advanceTimersByTime(0.85 * pollMs)
  expect(count()).toBe(0)
  vi.advanceTimersByTime(0.15 * pollMs)
  expect(count()).toBe(1)
  settle()
  wake(performance.now() / 1000)
  wake(null)
  expect(count()).toBe(1)
  settle() // the second wake-up came while that look was under way
  expect(looked).toBeLessThanOrEqual(4)
})

it('a look that says there may be more passes the turn on, to one more for each such answer in a row', () => {
  const { watches } = startWatch()
  const all = Array.from({ length: 16 }, () => eager(watches))
  const underWay = (): Turn[] => all.flatMap(({ turns }) => turns)
  const full = (): void => {
    for (const { turns } of all.filter(({ turns }) => turns.length > 0)) turns.pop()!.answered(answer(0))
  }
  expect(underWay()).toHaveLength(1)
  full()
  expect(underWay()).toHaveLength(1)
  full()
  expect(underWay()).toHaveLength(2)
  full()
  expect(underWay()).toHaveLength(4)
  for (const { turns } of all) turns.pop()?.answered(answer(null))
  vi.advanceTimersByTime(1_000)
  expect(underWay()).toEqual([])
})

it('one who waits with a shorter poll interval shortens that of all, while it waits', () => {
  const { watches } = startWatch()
  const patient = eager(watches)
  patient.turns.pop()!.answered(answer(null))
  patient.take()
  const hasty = watches.join('q', { pollMs: 200, onTurn: () => {} })
  hasty.take()
  vi.advanceTimersByTime(200)
  expect(patient.turns).toHaveLength(1)
  patient.turns.pop()!.answered(answer(null))
  patient.take()
  hasty.pass()
  vi.advanceTimersByTime(2_000)
  expect(patient.turns).toEqual([])
})

it('a look that failed is repeated a little later, also where there may be more, and later each time', () => {
  const { watches } = startWatch()
  const { turns, take } = eager(watches)
  turns.pop()!.answered(answer(0))
  take()
  for (const [atLeast, atMost] of [
    [37, 63],
    [75, 125],
    [150, 250],
  ] as const) {
    const retryMs = turns.pop()!.failed(true)
    expect(retryMs).toBeGreaterThanOrEqual(atLeast)
    expect(retryMs).toBeLessThanOrEqual(atMost)
    take()
    vi.advanceTimersByTime(atLeast - 1)
    expect(turns).toHaveLength(0)
    vi.advanceTimersByTime(atMost - atLeast + 2)
    expect(turns).toHaveLength(1)
  }
})

it('where an error ends one seat, the others try at once', () => {
  const { watches } = startWatch()
  const [first, second] = [eager(watches), eager(watches)]
  first.turns.pop()!.failed(false)
  expect(second.turns).toHaveLength(1)
})

it('an idle watch has one timer, and one without anybody who waits has none but that of its end', () => {
  const { watches } = startWatch()
  const all = Array.from({ length: 100 }, () => eager(watches))
  all[0]!.turns.pop()!.answered(answer(300))
  all[0]!.take()
  expect(vi.getTimerCount()).toBe(1)
  for (const { seat } of all) seat.pass()
  expect(vi.getTimerCount()).toBe(0)
  for (const { seat } of all) seat.leave()
  expect(vi.getTimerCount()).toBe(1)
  vi.advanceTimersByTime(10_000)
  expect(vi.getTimerCount()).toBe(0)
})

// --- the model

type Action =
  | 'join'
  | 'leave'
  | 'room'
  | 'full'
  | 'run'
  | 'more'
  | 'empty'
  | 'next'
  | 'fail'
  | 'wake'
  | 'wakeAt'
  | 'pass'
/** The more often, the more: most wait, and looks come to an end. */
const weights: Readonly<Record<Action, number>> = {
  join: 4,
  leave: 1,
  room: 6,
  full: 2,
  pass: 1,
  run: 1,
  more: 2,
  empty: 4,
  next: 2,
  fail: 1,
  wake: 2,
  wakeAt: 2,
}
const step = fc.record({
  action: fc.oneof(
    ...Object.entries(weights).map(([name, weight]) => ({ weight, arbitrary: fc.constant(name as Action) })),
  ),
  which: fc.nat(20),
  ms: fc.oneof(fc.constant(0), fc.integer({ min: 0, max: 200 }), fc.integer({ min: 0, max: 6_000 })),
})

type Member = { readonly seat: Seat; hasRoom: boolean; isTold: boolean; waits: boolean; isLooking: boolean }
type Looking = { readonly turn: Turn; readonly no: number; readonly beganAt: number; readonly member: Member }
/** Something that a look must see which begins later than look `since`, from `dueAt` on. */
type Duty = { since: number; dueAt: number }

it('promise 2: whenever something is known to be ready and somebody has room, a look is under way or begins', () => {
  fc.assert(
    fc.property(fc.array(step, { minLength: 5, maxLength: 80 }), (steps) => {
      const { watches, wake } = startWatch()
      const members: Member[] = []
      const looks: Looking[] = []
      let lastNo = 0
      let emptySince = 0
      let duties: Duty[] = [{ since: 0, dueAt: performance.now() }]
      const isYoung = ({ beganAt }: Looking): boolean => performance.now() < beganAt + overdueMs
      const pick = <T>(list: readonly T[], which: number): T | undefined => list[which % Math.max(list.length, 1)]

      /** What the loop of a consumer does when it wakes. */
      const act = (member: Member): void => {
        member.isTold = false
        if (member.isLooking) return
        const turn = member.hasRoom ? member.seat.take() : undefined
        if (!member.hasRoom) member.seat.pass()
        member.waits = member.hasRoom && !turn
        if (!turn) return
        looks.push({ turn, no: ++lastNo, beganAt: performance.now(), member })
        member.isLooking = true
      }
      const end = (look: Looking): void => {
        looks.splice(looks.indexOf(look), 1)
        look.member.isLooking = false
        look.member.isTold = true
      }
      const runTold = (): void => {
        const told = members.filter(({ isTold }) => isTold)
        told.forEach(act)
        if (told.length > 0) runTold()
      }
      const check = (): void => {
        runTold()
        const now = performance.now()
        if (looks.some(isYoung) || !members.some(({ waits }) => waits)) return
        expect(duties.filter(({ dueAt }) => dueAt < now)).toEqual([])
      }

      for (const { action, which, ms } of steps) {
        const member = pick(members, which)
        const look = pick(looks, which)
        const now = performance.now()
        if (action === 'join' && members.length < 6) {
          if (members.length === 0) {
            if (now >= emptySince + lingerMs) looks.length = 0 // they belong to a watch that has ended
            duties = [{ since: lastNo, dueAt: now }]
          }
          const added: Member = {
            seat: watches.join('q', { pollMs: Number.POSITIVE_INFINITY, onTurn: () => (added.isTold = true) }),
            hasRoom: true,
            isTold: true,
            waits: false,
            isLooking: false,
          }
          members.push(added)
        }
        if (action === 'leave' && member) {
          wake(null) // perhaps its turn
          duties.push({ since: lastNo, dueAt: now })
          member.seat.leave() // its look, where there is one, still counts, or is never heard of again
          members.splice(members.indexOf(member), 1)
          emptySince = now
        }
        if (action === 'room' && member) Object.assign(member, { hasRoom: true, isTold: true })
        if (action === 'full' && member) member.hasRoom = false // it finds out when it is told
        if (action === 'pass' && member && !member.isLooking) {
          Object.assign(member, { hasRoom: false, waits: false })
          member.seat.pass()
        }
        if (action === 'run') runTold()
        if (['more', 'empty', 'next'].includes(action) && look) {
          look.turn.answered(answer(action === 'more' ? 0 : action === 'next' ? ms : null))
          duties = duties.filter(({ since }) => since >= look.no)
          if (action === 'more') duties.push({ since: lastNo, dueAt: now })
          if (action === 'next') duties.push({ since: lastNo, dueAt: now + ms })
          duties.push({ since: look.no, dueAt: now + pollMs })
          end(look)
        }
        if (action === 'fail' && look) {
          look.turn.failed(true)
          for (const duty of duties) if (duty.since < look.no) duty.dueAt = Math.max(duty.dueAt, now + retryMs)
          end(look)
        }
        if (action === 'wake' || action === 'wakeAt') {
          const at = action === 'wake' ? now : now + ms
          wake(action === 'wake' ? null : at / 1000)
          duties.push({ since: lastNo, dueAt: at })
        }
        check()
        // What a look has taken over is due again when it is overdue.
        for (const { no, beganAt } of looks)
          for (const duty of duties) if (duty.since < no) duty.dueAt = Math.max(duty.dueAt, beganAt + overdueMs)
        for (let left = ms; left > 0; left -= 50) {
          vi.advanceTimersByTime(Math.min(left, 50))
          check()
        }
      }
    }),
    { numRuns: 1_000 },
  )
})
