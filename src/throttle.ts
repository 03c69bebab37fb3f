// Fewer notifications than commits. Notifying commits wait for each other, in the whole cluster, and one notification tells a
// consumer as much as a hundred. So a client has one under way for each queue, and one in 3 ms, which leaves a stream of 300 messages
// a second as it is; where such commits have become slow, fewer. (64 connections in 8 processes: 9,000 commits a second without
// notifications, 3,000 with one in each, and also with one for each process in 3 ms; 8,500 with what is below.)
//
//   message -- token, none under way --> with a notification, which speaks for those that were held back and are committed
//      `------ none -------------------> without; answered --> held back -- nobody spoke for it, token --> a statement `wake`
//
// Invariants: what was held back is told of within a few milliseconds of its answer, be its outcome unknown. A process that dies
// before that loses a hint, and the poll interval finds the message. What is due later is left to the database, which
// notifies for nothing that a sleeper finds by itself.
import type { Enqueuer, Sender } from './enqueuer.js'
import { isDueqError } from './errors.js'
import type { Enqueueing } from './statements-produce.js'

/** The time from one notification to the next, in ms: eight times what its commit takes beyond a millisecond, within limits. */
const shortestMs = 3
const longestMs = 50
const intervalOf = (commitMs: number): number => Math.min(Math.max((commitMs - 1) * 8, shortestMs), longestMs)
/** So many without a pause, after a long one. */
const burst = 3
/** For how long a `wake` that fails is repeated: by then consumers have looked by themselves. */
const giveUpMs = 5_000
/** Consumers are told of an instant so much earlier: the statement that tells them is under way meanwhile. */
const marginMs = 50

/** An enqueuer with a throttle. */
export type Throttle = Enqueuer & {
  /** Tells at once of what is held back. */
  close(): Promise<void>
}

type Bucket = {
  readonly queue: string
  tokens: number
  filledAt: number
  /** In which one more token comes. */
  intervalMs: number
  isUnderWay: boolean
  /** When the first message was sent that nobody was told of. */
  heldSince: number | undefined
  timer: NodeJS.Timeout | undefined
}

/** Throttles the notifications of a client. */
export function throttleWakes(sender: Sender): Throttle {
  const buckets = new Map<string, Bucket>()

  const bucketOf = (queue: string): Bucket => {
    const known = buckets.get(queue)
    if (known) return known
    if (buckets.size >= 1000) forgetIdle(buckets)
    const bucket: Bucket = {
      queue,
      tokens: burst,
      filledAt: performance.now(),
      intervalMs: shortestMs,
      isUnderWay: false,
      heldSince: undefined,
      timer: undefined,
    }
    buckets.set(queue, bucket)
    return bucket
  }
  const hold = (bucket: Bucket, since: number, pauseMs?: number): void => {
    bucket.heldSince = Math.min(bucket.heldSince ?? since, since)
    bucket.timer ??= setTimeout(tell, pauseMs ?? (1 - bucket.tokens) * bucket.intervalMs, bucket)
  }
  const tell = async (bucket: Bucket): Promise<void> => {
    bucket.timer = undefined
    const since = bucket.heldSince
    if (since === undefined) return
    if (!takeToken(bucket)) return hold(bucket, since)
    bucket.heldSince = undefined
    const agoMs = performance.now() - since
    try {
      await sender.wake(bucket.queue, agoMs + marginMs)
    } catch {
      if (agoMs < giveUpMs) hold(bucket, since, 100)
    } finally {
      answered(bucket)
    }
  }
  /** `isTold` says of an answer whether the database has notified: not for a message that was there already. */
  const send = <T>(
    queue: string,
    run: (isWaking: boolean) => Promise<T>,
    isTold: (answer: T) => boolean,
  ): Promise<T> => {
    const bucket = bucketOf(queue)
    const sentAt = performance.now()
    const isWaking = takeToken(bucket)
    const since = isWaking ? bucket.heldSince : sentAt
    if (isWaking) bucket.heldSince = undefined
    const answer = run(isWaking)
    const failed = (error: unknown): void => {
      if (isWaking) answered(bucket)
      const isHeld = isWaking || !isDueqError(error) || error.isOutcomeUnknown
      if (since !== undefined && isHeld) hold(bucket, since)
    }
    answer.then((given) => {
      if (isWaking) answered(bucket)
      if (since !== undefined && !(isWaking && isTold(given))) hold(bucket, since)
    }, failed)
    return answer
  }

  return {
    one: (queue, message, deadline) =>
      isDueNow(message)
        ? send(
            queue,
            (isWaking) => sender.one(queue, message, isWaking, deadline),
            ({ created }) => created,
          )
        : sender.one(queue, message, true, deadline),
    many: (queue, messages, deadline) =>
      messages.some(isDueNow) && !messages.some(({ at }) => at !== undefined)
        ? send(
            queue,
            (isWaking) => sender.many(queue, messages, isWaking, deadline),
            () => true,
          )
        : sender.many(queue, messages, true, deadline),
    async close() {
      const held = [...buckets.values()].filter(({ heldSince }) => heldSince !== undefined)
      for (const { timer } of buckets.values()) clearTimeout(timer)
      const telling = held.map(({ queue, heldSince }) =>
        sender.wake(queue, performance.now() - heldSince! + marginMs).catch(() => {}),
      )
      let timer: NodeJS.Timeout | undefined
      const late = new Promise<void>((resolve) => {
        timer = setTimeout(resolve, 1000)
      })
      await Promise.race([Promise.all(telling), late])
      clearTimeout(timer)
    },
  }
}

// --- internal ---

function isDueNow({ delayMs, at }: Enqueueing): boolean {
  return delayMs === undefined && at === undefined
}

/** Takes a token, for a statement that is sent now. */
function takeToken(bucket: Bucket): boolean {
  if (bucket.isUnderWay) return false
  const now = performance.now()
  bucket.tokens = Math.min(burst, bucket.tokens + (now - bucket.filledAt) / bucket.intervalMs)
  bucket.filledAt = now
  if (bucket.tokens < 1) return false
  bucket.tokens--
  bucket.isUnderWay = true
  return true
}

/** The statement is answered. Slow ones count for little, since anything may have delayed them; a fast one says that all is well. */
function answered(bucket: Bucket): void {
  const longer = intervalOf(performance.now() - bucket.filledAt) - bucket.intervalMs
  bucket.intervalMs += longer > 0 ? longer / 8 : longer
  bucket.isUnderWay = false
}

/** A bucket that would be full again is as good as a new one. */
function forgetIdle(buckets: Map<string, Bucket>): void {
  const fullBefore = performance.now() - burst * longestMs
  for (const [queue, { filledAt, isUnderWay, heldSince, timer }] of buckets)
    if (filledAt < fullBefore && !isUnderWay && heldSince === undefined && !timer) buckets.delete(queue)
}
