// One watch for each queue of a client, shared by all of its consumers and waiting dequeues: when to look next (agenda.ts), who
// of them looks, and what the look is told (hint.ts).
//
//   asleep -- due, and somebody has room --> its turn: a look --> answered: asleep
//                                                         |-> answered that there may be more: the next one's turn, at once
//                                                         |-> failed: the next one's turn, a little later
//                                                         `-> no answer for a second: the next one's turn
//
// Invariant: whenever something is known to be ready and somebody has room, a look is under way or armed. So a turn is never
// owned: who waits is told, asks again, and gets it; who does not ask any more has passed it on or left.
//
// All watches of a client share a gate, for looks of which nobody said that there is something.
//
// After answers of "there may be more" in a row, as many look side by side as there were such answers: busy consumers use
// all connections, and one message makes a crowd of consumers look twice, not once for each.
import { type Agenda, createAgenda, type Look, overdueMs } from './agenda.js'
import { createAlarm } from './alarm.js'
import { createGate, type Gate } from './gate.js'
import { createHint } from './hint.js'
import { createPollIntervals } from './poll-intervals.js'
import type { Wakeups } from './wakeup.js'

/** The watches of a client. */
export type Watches = {
  /** Takes a seat at the watch of a queue. */
  join(queue: string, options: SeatOptions): Seat
  close(): void
}

export type SeatOptions = {
  /** Shortens the stored poll interval while this seat waits, in ms; Infinity: it does not. */
  readonly pollMs: number
  /** Called when a waiting seat should ask for its turn. */
  readonly onTurn: () => void
}

/** The place of one consumer, or waiting dequeue, at a watch. */
export type Seat = {
  /** There is room for messages: asks for a turn. Undefined: not yet; waits for `onTurn`. */
  take(): Turn | undefined
  /** Looks out of turn. */
  begin(): Turn
  /** There is no room: waits no more. */
  pass(): void
  /** Something may be ready. */
  wake(): void
  /** Whether there is something to look for now. */
  readonly isDue: boolean
  /** When the database last answered a look of any seat; null before the first. */
  readonly answeredAt: Date | null
  /** Gives the seat up. Its looks under way still count. */
  leave(): void
}

/** A look under way, from its beginning to its one answer or failure. */
export type Turn = {
  readonly hint: string | null
  readonly wokenFromSeconds: number | null
  /** Whether notifications are arriving. */
  readonly isListening: boolean
  /** The shortest poll interval of those who wait; undefined: the stored one. */
  readonly sleepMs: number | undefined
  /** Neither answered nor failed. */
  readonly isUnderWay: boolean
  answered(look: Look): void
  /** Gives the ms until the look is repeated. An error for which this seat ends is tried by the others at once. */
  failed(isTransient: boolean): number
}

/** How long a watch outlives its last seat, in ms: one long poll after the other keeps the hint and the connection that listens. */
const lingerMs = 5_000

/** Makes the watches of a client. */
export function createWatches(wakeups: Wakeups): Watches {
  const watches = new Map<string, Watch>()
  const gate = createGate()
  return {
    join(queue, options) {
      let watch = watches.get(queue)
      if (!watch) {
        watch = createWatch(queue, wakeups, gate, () => watches.delete(queue))
        watches.set(queue, watch)
      }
      return watch.join(options)
    },
    close() {
      for (const watch of [...watches.values()]) watch.close()
    },
  }
}

// --- internal ---

type Watch = { join(options: SeatOptions): Seat; close(): void }

function createWatch(queue: string, wakeups: Wakeups, gate: Gate, onClose: () => void): Watch {
  const agenda: Agenda = createAgenda()
  const hint = createHint()
  const seats = new Set<SeatOptions>()
  /** Those with room, in the order of their turns. */
  const waiting = new Set<SeatOptions>()
  const polls = createPollIntervals()
  /** When each look under way began. */
  const underWay = new Map<number, number>()
  /** Answers in a row that there may be more. */
  let streak = 0
  /** Somebody told of a message: a notification since the last look began, or the last answer that claimed some and left more. */
  let isTold = false
  let answeredAt: Date | null = null
  let lingering: NodeJS.Timeout | undefined

  const isDue = (): boolean => streak > 0 || agenda.at(polls.shortest) <= performance.now()
  /** When the next look may begin. */
  const nextAt = (): number => {
    const dueAt = streak > 0 ? 0 : agenda.at(polls.shortest)
    const overdueSince = performance.now() - overdueMs
    let count = 0
    let firstBegan = Number.POSITIVE_INFINITY
    for (const began of underWay.values()) {
      if (began <= overdueSince) continue
      count++
      firstBegan = Math.min(firstBegan, began)
    }
    return count < Math.max(streak, 1) ? dueAt : Math.max(dueAt, firstBegan + overdueMs)
  }
  /** Tells the one whose turn it is, or sets the alarm for then. */
  const tell = (): void => {
    const [first] = waiting
    const at = first ? nextAt() : Number.POSITIVE_INFINITY
    const isNow = at <= performance.now()
    alarm.set(isNow ? Number.POSITIVE_INFINITY : at)
    if (isNow && mayPass()) first?.onTurn()
  }
  const mayPass = (): boolean => isTold || gate.hasRoom(tell)
  const alarm = createAlarm(tell)
  const wake = (readyAtSeconds: number | null): void => {
    // Anybody may notify anything: an instant that the database could not take would end the consumers.
    const isNamed = readyAtSeconds !== null && readyAtSeconds > 0 && readyAtSeconds < 1e10
    if (isNamed) hint.woken(readyAtSeconds)
    else hint.drop()
    agenda.wake(isNamed ? readyAtSeconds * 1000 : null)
    if (isNamed) isTold = true
    tell()
  }
  const wait = (seat: SeatOptions): void => {
    if (waiting.has(seat)) return
    waiting.add(seat)
    polls.add(seat.pollMs)
  }
  const waitNoMore = (seat: SeatOptions): void => {
    if (waiting.delete(seat)) polls.remove(seat.pollMs)
  }

  const begin = (seat: SeatOptions): Turn => {
    const sleepMs = Math.min(seat.pollMs, polls.shortest)
    waitNoMore(seat)
    const no = agenda.begin()
    underWay.set(no, performance.now())
    const recall = hint.begin()
    const leaveGate = isTold ? () => {} : gate.enter()
    isTold = false
    tell()
    return {
      hint: recall.hint,
      wokenFromSeconds: recall.wokenFrom,
      isListening: wakeups.isUp,
      sleepMs: Number.isFinite(sleepMs) ? sleepMs : undefined,
      get isUnderWay() {
        return underWay.has(no)
      },
      answered(look) {
        underWay.delete(no)
        answeredAt = new Date()
        agenda.answered(no, look)
        recall.answered(look.polled.hint)
        streak = hasMore(look) ? streak + 1 : 0
        if (streak > 0 && look.polled.deliveries.length > 0) isTold = true
        tell()
        leaveGate()
      },
      failed(isTransient) {
        underWay.delete(no)
        recall.failed()
        streak = 0
        const retryMs = agenda.failed(no)
        if (!isTransient) agenda.wake(null)
        wakeups.doubt()
        tell()
        leaveGate()
        return retryMs
      },
    }
  }

  const close = (): void => {
    clearTimeout(lingering)
    alarm.clear()
    gate.forget(tell)
    unsubscribe()
    onClose()
  }
  const unsubscribe = wakeups.subscribe(queue, wake)
  return {
    join(options) {
      const seat = { ...options }
      clearTimeout(lingering)
      // Nobody kept an eye on the queue; beside others the newcomer knows what they know.
      if (seats.size === 0) agenda.wake(null)
      seats.add(seat)
      return {
        take() {
          const [first = seat] = waiting
          if (first === seat && nextAt() <= performance.now() && mayPass()) return begin(seat)
          wait(seat)
          tell()
          return undefined
        },
        begin: () => begin(seat),
        pass() {
          waitNoMore(seat)
          tell()
        },
        wake: () => wake(null),
        get isDue() {
          return isDue()
        },
        get answeredAt() {
          return answeredAt
        },
        leave() {
          if (!seats.delete(seat)) return
          waitNoMore(seat)
          if (seats.size === 0) lingering = setTimeout(close, lingerMs).unref()
          tell()
        },
      }
    },
    close,
  }
}

/** Whether the look said to look again at once. */
function hasMore({ polled }: Look): boolean {
  return polled.nextReadyAtMs !== null && polled.nextReadyAtMs <= polled.polledAtMs
}
