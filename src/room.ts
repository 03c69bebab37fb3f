// Waiting for room in a queue that is at its limit (`max_depth`). The wait is in this process and between statements: no
// connection, no transaction and no lock is held by those who wait.
//
//   refused as full --> end of the line of the queue -- first in line, after a pause --> tries again
//                            ^--- still full: the pause doubles, up to a second -----------'  |
//   the first two of the line try, then four … <-- there was room: no pause -----------------'
//
// Invariants: however many wait, one of a process tries while a queue is full, so that waiting costs the server next to nothing.
// Who comes while others wait goes behind them (of those who try at once any may be the first). An attempt on its way is waited for, also beyond the deadline and after an
// abort, because it may have been enqueued.
import { DueqError, isDueqError } from './errors.js'

/** How long a call waits for room, and what ends that early. */
export type Patience = { readonly waitMs: number; readonly signal: AbortSignal | undefined }

/** The lines of those who wait. */
export type Room = {
  /** Runs an enqueue, again and again while it is refused as full. Errors: those of the enqueue, `aborted`, `client.closed`. */
  wait<T>(queue: string, patience: Patience, attempt: () => Promise<T>): Promise<T>
  /** Sends away those who wait. */
  close(): void
}

/** The first pause and the longest, in ms; each is shortened at random by up to half, so that processes do not come together. */
const firstPauseMs = 10
const longestPauseMs = 1000
/** The most that try at once, when there is room. */
const maxWidth = 1024

type Waiter = {
  /** Its place among those who wait. */
  readonly number: number
  readonly deadline: number
  readonly signal: AbortSignal | undefined
  /** Tries, and settles the call unless the queue is full. */
  readonly attempt: () => Promise<'settled' | DueqError>
  readonly reject: (error: DueqError) => void
  /** Why it waits. */
  refusal: DueqError | undefined
}
type Line = {
  readonly queue: string
  readonly waiting: Waiter[]
  trying: number
  width: number
  pauseMs: number
  timer: NodeJS.Timeout | undefined
}

/** Makes the lines of a client. */
export function createRoom(): Room {
  const lines = new Map<string, Line>()
  let isClosed = false
  let count = 0

  const lineOf = (queue: string): Line => {
    const line = lines.get(queue) ?? newLine(queue)
    lines.set(queue, line)
    return line
  }
  const advance = (line: Line): void => {
    while (line.timer === undefined && line.trying < line.width && line.waiting.length > 0)
      void tryOne(line, line.waiting.shift()!)
    if (line.waiting.length > 0 || line.trying > 0) return
    clearTimeout(line.timer)
    lines.delete(line.queue)
  }
  const tryOne = async (line: Line, waiter: Waiter): Promise<void> => {
    line.trying++
    const outcome = await waiter.attempt()
    line.trying--
    if (outcome === 'settled') {
      line.width = Math.min(line.width * 2, maxWidth)
      line.pauseMs = firstPauseMs
    } else {
      line.width = 1
      waiter.refusal = outcome
      if (!isSentAway(waiter)) goBack(line, waiter)
      rest(line, outcome)
    }
    advance(line)
  }
  const rest = (line: Line, refusal: DueqError): void => {
    line.timer ??= setTimeout(
      () => {
        line.timer = undefined
        advance(line)
      },
      pauseOf(line, refusal),
    )
  }
  const leave = (line: Line, waiter: Waiter): void => {
    const place = line.waiting.indexOf(waiter)
    if (place === -1 || !isSentAway(waiter)) return
    line.waiting.splice(place, 1)
    advance(line)
  }
  const isSentAway = (waiter: Waiter): boolean => {
    const error = isClosed ? closedError() : waiter.signal?.aborted ? abortedError() : lateError(waiter)
    if (error) waiter.reject(error)
    return error !== undefined
  }
  const queueUp = <T>(line: Line, { waitMs, signal }: Patience, attempt: () => Promise<T>, refusal?: DueqError) =>
    new Promise<T>((resolve, reject) => {
      const settle = (run: () => void): 'settled' => {
        clearTimeout(timer)
        signal?.removeEventListener('abort', onEnd)
        run()
        return 'settled'
      }
      const waiter: Waiter = {
        number: ++count,
        deadline: performance.now() + waitMs,
        signal,
        refusal,
        reject: (error) => settle(() => reject(error)),
        attempt: () =>
          attempt().then(
            (result) => settle(() => resolve(result)),
            (error: unknown) => (isWorthWaiting(error) ? error : settle(() => reject(error))),
          ),
      }
      const onEnd = (): void => leave(line, waiter)
      const timer = setTimeout(onEnd, Math.max(waitMs, 0) + 1)
      signal?.addEventListener('abort', onEnd, { once: true })
      line.waiting.push(waiter)
      if (signal?.aborted || isClosed) onEnd()
      else if (refusal) rest(line, refusal)
      advance(line)
    })

  return {
    async wait(queue, { waitMs, signal }, attempt) {
      if (signal?.aborted) throw abortedError()
      const deadline = performance.now() + waitMs
      if (lines.has(queue)) return queueUp(lineOf(queue), { waitMs, signal }, attempt)
      try {
        return await attempt()
      } catch (error) {
        if (!isWorthWaiting(error)) throw error
        return queueUp(lineOf(queue), { waitMs: deadline - performance.now(), signal }, attempt, error)
      }
    },
    close() {
      isClosed = true
      for (const line of [...lines.values()]) for (const waiter of [...line.waiting]) leave(line, waiter)
    },
  }
}

/** Whether the queue was full, but may have room for this one day. */
export function isWorthWaiting(error: unknown): error is DueqError {
  if (!isDueqError(error) || error.code !== 'queue.full') return false
  const { wanted, maxDepth } = error.details
  return !(Number(wanted) > Number(maxDepth))
}

/** Of so many messages that a queue refused as full, how many to try first: those that had room; of more than it may ever hold, that many. */
export function partThatFits(error: unknown, count: number): number {
  if (!isDueqError(error) || error.code !== 'queue.full') return 0
  const { room, maxDepth } = error.details
  const fitting = Number(room) > 0 ? Number(room) : count > Number(maxDepth) ? Number(maxDepth) : 0
  return Math.min(fitting, count - 1)
}

// --- internal ---

/** To its old place, whoever was refused before it. */
function goBack({ waiting }: Line, waiter: Waiter): void {
  const place = waiting.findIndex(({ number }) => number > waiter.number)
  waiting.splice(place === -1 ? waiting.length : place, 0, waiter)
}

function newLine(queue: string): Line {
  return { queue, waiting: [], trying: 0, width: 1, pauseMs: firstPauseMs, timer: undefined }
}

/** The server says when it counts again; to ask before that is of no use, but it may be long until then. */
function pauseOf(line: Line, { details }: DueqError): number {
  const againMs = Number(details['againMs']) || 0
  const ms = line.pauseMs * (1 - Math.random() / 2)
  line.pauseMs = Math.min(line.pauseMs * 2, longestPauseMs)
  return Math.min(Math.max(ms, againMs), longestPauseMs)
}

function lateError({ deadline, refusal }: Waiter): DueqError | undefined {
  if (performance.now() < deadline) return undefined
  return (
    refusal ??
    new DueqError(
      'queue.full',
      'Others wait for room in this queue, and had none until the end of `wait`; nothing was sent.',
    )
  )
}

function abortedError(): DueqError {
  return new DueqError('aborted', 'The signal of `enqueue` aborted while it waited for room; nothing was enqueued.')
}

function closedError(): DueqError {
  return new DueqError(
    'client.closed',
    'This dueq client was closed while `enqueue` waited for room; nothing was enqueued.',
  )
}
