// Many concurrent enqueues, few statements: what is called while a statement of the same queue is in flight rides in the next
// one. A lone call goes at once, so an idle caller waits for nothing. Each call settles after the commit of its own statement.
//
//   idle -- call --> in flight, alone -- answered, others wait --> in flight, all that wait --.
//    ^                  `-- answered, nobody waits --.               ^  |      answered, end of the turn
//    `-----------------------------------------------+-- nobody -----+--'<--------------------'
//
// Invariants: a message that is refused fails alone. One that may have to wait for the transaction of a stranger (it has a
// dedup key, or a level that the queue may not know yet) goes alone and keeps no other waiting; nor does a statement that hangs,
// beyond a second. The deadline counts from the call; what waits is bounded; what was not sent is told as such.
import { type Entry, sendBatch } from './batch.js'
import type { Enqueuer } from './enqueuer.js'
import { DueqError } from './errors.js'
import { charsOf } from './prepare.js'
import type { Enqueued, Enqueueing } from './statements-produce.js'

/** The most of one statement: messages, and UTF-16 code units of JSON. */
const maxBatch = 1000
const maxBatchChars = 4_000_000

/** The most that waits in a client, what is sent and not answered included. */
const maxWaiting = 100_000
const maxWaitingChars = 64_000_000

/** An enqueuer whose single messages share statements. */
export type Coalescer = Enqueuer & {
  /** Takes no more, and gives what waits a second to be sent. */
  close(): Promise<void>
}

/** A queue with a statement in flight. */
type Lane = {
  readonly queue: string
  /** When the statement in flight was sent. */
  sentAt: number
  waiting: Entry[]
  /** Rings when the statement has taken too long, or the first that waits has waited too long. */
  timer: NodeJS.Timeout | undefined
}

/** Coalesces the single messages of a client; `many` passes through. `timeoutMs` bounds the wait and the statement together. */
export function coalesceEnqueues(sender: Enqueuer, timeoutMs: number): Coalescer {
  const lanes = new Map<string, Lane>()
  const isKnownLevel = knownLevels()
  /** Behind a statement that takes longer nobody waits. */
  const patienceMs = Math.min(1000, timeoutMs / 4)
  /** So long before its deadline a message is not sent any more: too little time is left for the answer. */
  const lateMs = timeoutMs / 10
  /** What waits, and what is on its way in batches. */
  let waitingCount = 0
  let waitingChars = 0
  let isClosed = false
  let onIdle = (): void => {}

  const openLane = (queue: string, waiting: Entry[]): Lane => {
    const lane: Lane = { queue, sentAt: performance.now(), waiting, timer: undefined }
    lanes.set(queue, lane)
    return lane
  }
  /** The first message of a lane: the plain statement, and no detour for its answer. */
  const sendFirst = (queue: string, message: Enqueueing): Promise<Enqueued> => {
    const lane = openLane(queue, [])
    const answer = sender.one(queue, message)
    const go = (): void => {
      if (lane.waiting.length === 0) end(lane)
      else setImmediate(() => void run(lane))
    }
    answer.then(go, go)
    return answer
  }
  const wait = (lane: Lane, message: Enqueueing): Promise<Enqueued> => {
    const chars = charsOf(message)
    if (waitingCount >= maxWaiting || (waitingCount > 0 && waitingChars + chars > maxWaitingChars))
      return Promise.reject(overloaded(waitingCount, waitingChars))
    waitingCount++
    waitingChars += chars
    return new Promise((resolve, reject) => {
      lane.waiting.push({ message, chars, deadline: performance.now() + timeoutMs, resolve, reject })
      if (!lane.timer) watch(lane)
    })
  }
  /** One statement after the other. Those who are answered may call again before the turn is over. */
  const run = async (lane: Lane): Promise<void> => {
    while (lane.waiting.length > 0) {
      lane.sentAt = performance.now()
      tellLate(lane, lane.sentAt)
      const batch = take(lane)
      if (batch.length > 0) await sendBatch(sender, lane.queue, batch)
      forget(batch)
      await new Promise((resolve) => setImmediate(resolve))
    }
    end(lane)
  }
  const end = (lane: Lane): void => {
    clearTimeout(lane.timer)
    if (lanes.get(lane.queue) === lane) lanes.delete(lane.queue)
    if (lanes.size === 0) onIdle()
  }
  const take = ({ waiting }: Lane): readonly Entry[] => {
    let count = 0
    for (let chars = 0; count < waiting.length && count < maxBatch && chars < maxBatchChars; count++)
      chars += waiting[count]!.chars
    return waiting.splice(0, count)
  }
  const refuse = (waiting: Entry[], count: number, error: DueqError): void => {
    const refused = waiting.splice(0, count)
    forget(refused)
    for (const { reject } of refused) reject(error)
  }
  const forget = (entries: readonly Entry[]): void => {
    waitingCount -= entries.length
    for (const { chars } of entries) waitingChars -= chars
  }
  /** Looks after those who wait: they are told when it takes too long, and leave a statement that hangs behind. */
  const watch = (lane: Lane): void => {
    const [first] = lane.waiting
    const now = performance.now()
    const patience = lane.sentAt + patienceMs - now
    lane.timer = undefined
    if (isClosed) return // close has a timer of its own
    if (first && patience <= 0) {
      const { waiting } = lane
      lane.waiting = []
      const next = openLane(lane.queue, waiting)
      void run(next)
      if (next.waiting.length > 0) watch(next)
    } else if (first) {
      tellLate(lane, now)
      const ms = Math.min(patience, first.deadline - lateMs - now)
      lane.timer = setTimeout(watch, Math.max(ms, 1), lane).unref() // the statement keeps the process alive
    }
  }
  const tellLate = ({ waiting }: Lane, now: number): void => {
    const inTime = waiting.findIndex(({ deadline }) => deadline - lateMs > now)
    if (inTime !== 0) refuse(waiting, inTime === -1 ? waiting.length : inTime, lateError(timeoutMs))
  }

  return {
    many: sender.many,
    one(queue, message) {
      if (isClosed) return Promise.reject(closedError())
      if (message.dedupKey !== undefined) return sender.one(queue, message)
      if (message.priority && !isKnownLevel(queue, message.priority))
        return sender.one(queue, message).then((enqueued) => {
          isKnownLevel(queue, message.priority!, true)
          return enqueued
        })
      const lane = lanes.get(queue)
      return lane ? wait(lane, message) : sendFirst(queue, message)
    },
    async close() {
      isClosed = true
      if (lanes.size === 0) return
      let timer: NodeJS.Timeout | undefined
      await new Promise<void>((resolve) => {
        onIdle = resolve
        timer = setTimeout(resolve, 1000)
      })
      clearTimeout(timer)
      for (const lane of lanes.values()) {
        clearTimeout(lane.timer)
        refuse(lane.waiting, lane.waiting.length, closedError())
      }
    },
  }
}

// --- internal ---

/** Remembers the levels that were used: the first message of a level waits for the row of the queue, later ones do not. */
function knownLevels(): (queue: string, level: number, isLearned?: boolean) => boolean {
  const known = new Set<string>()
  return (queue, level, isLearned = false) => {
    const name = `${level} ${queue}`
    if (isLearned) {
      if (known.size >= 10_000) known.clear()
      known.add(name)
    }
    return known.has(name)
  }
}

function closedError(): DueqError {
  return new DueqError('client.closed', 'This dueq client is closed; nothing was sent.')
}

function lateError(timeoutMs: number): DueqError {
  return new DueqError('timeout', `The enqueues before this one took ${timeoutMs} ms; nothing was sent.`)
}

function overloaded(count: number, chars: number): DueqError {
  return new DueqError(
    'enqueue.overloaded',
    `${count} messages with ${chars} characters of JSON wait to be enqueued, the most that a client lets wait; this one was not sent. Await \`enqueue\`, or use \`enqueueMany\`.`,
    { details: { waiting: count } },
  )
}
