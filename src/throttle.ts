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
/** The look that a notification sets off begins 50 ms before the last one: with room for the way, what is older it may miss. */
const spokenForMs = 40

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
  /** When the statement that notifies was sent, while one is under way. One that takes long holds nobody up. */
  underWaySince: number | undefined
  /** When the first message was sent that nobody was told of. */
  heldSince: number | undefined
  /** The same of what took so long that looks may have passed it: for that only a `wake` speaks, which names its instant. */
  lateSince: number | undefined
  timer: NodeJS.Timeout | undefined
}

/** Throttles the notifications of a client. */
export function throttleWakes(sender: Sender): Throttle {
  const buckets = new Map<string, Bucket>()
  let isClosed = false

  const bucketOf = (queue: string): Bucket => {
    const known = buckets.get(queue)
    if (known) return known
    if (buckets.size >= 1000) forgetIdle(buckets)
    const bucket: Bucket = {
      queue,
      tokens: burst,
      filledAt: performance.now(),
      intervalMs: shortestMs,
      underWaySince: undefined,
      heldSince: undefined,
      lateSince: undefined,
      timer: undefined,
    }
    buckets.set(queue, bucket)
    return bucket
  }
  const hold = (bucket: Bucket, since: number, pauseMs?: number): void => {
    if (isClosed) return
    if (performance.now() - since > spokenForMs) bucket.lateSince = Math.min(bucket.lateSince ?? since, since)
    else bucket.heldSince = Math.min(bucket.heldSince ?? since, since)
    const nextMs = Math.max((1 - bucket.tokens) * bucket.intervalMs, shortestMs)
    bucket.timer ??= setTimeout(tell, pauseMs ?? nextMs, bucket)
  }
  const tell = async (bucket: Bucket): Promise<void> => {
    bucket.timer = undefined
    const since = earliest(bucket)
    if (since === undefined) return
    const startedAt = takeToken(bucket)
    if (startedAt === undefined) return hold(bucket, since)
    bucket.heldSince = bucket.lateSince = undefined
    const agoMs = performance.now() - since
    try {
      await sender.wake(bucket.queue, agoMs)
    } catch {
      if (agoMs < giveUpMs) hold(bucket, since, 100)
    } finally {
      answered(bucket, startedAt)
    }
  }
  const send = <T>(queue: string, run: (isWaking: boolean) => Promise<T>): Promise<T> => {
    const bucket = bucketOf(queue)
    const sentAt = performance.now()
    const startedAt = takeToken(bucket)
    const isWaking = startedAt !== undefined
    const since = isWaking ? bucket.heldSince : sentAt
    if (isWaking) bucket.heldSince = undefined
    const answer = run(isWaking)
    const failed = (error: unknown): void => {
      if (isWaking) answered(bucket, startedAt)
      const isHeld = isWaking || !isDueqError(error) || error.isOutcomeUnknown
      if (since !== undefined && isHeld) hold(bucket, since)
    }
    answer.then(() => {
      if (isWaking) answered(bucket, startedAt)
      else hold(bucket, sentAt)
    }, failed)
    return answer
  }

  return {
    one: (queue, message, deadline) =>
      isDueNow(message) && message.dedupKey === undefined
        ? send(queue, (isWaking) => sender.one(queue, message, isWaking, deadline))
        : sender.one(queue, message, true, deadline),
    many: (queue, messages, deadline) =>
      messages.some(isDueNow) && !messages.some(({ at }) => at !== undefined)
        ? send(queue, (isWaking) => sender.many(queue, messages, isWaking, deadline))
        : sender.many(queue, messages, true, deadline),
    async close() {
      isClosed = true
      const held = [...buckets.values()].filter((bucket) => earliest(bucket) !== undefined)
      for (const { timer } of buckets.values()) clearTimeout(timer)
      const telling = held.map((bucket) =>
        sender.wake(bucket.queue, performance.now() - earliest(bucket)!).catch(() => {}),
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

function earliest({ heldSince, lateSince }: Bucket): number | undefined {
  return heldSince === undefined || lateSince === undefined ? (heldSince ?? lateSince) : Math.min(heldSince, lateSince)
}

/** Takes a token, for a statement that is sent now: at the instant that it gives. */
function takeToken(bucket: Bucket): number | undefined {
  const now = performance.now()
  if (bucket.underWaySince !== undefined && now - bucket.underWaySince < longestMs) return undefined
  bucket.tokens = Math.min(burst, bucket.tokens + (now - bucket.filledAt) / bucket.intervalMs)
  bucket.filledAt = now
  if (bucket.tokens < 1) return undefined
  bucket.tokens--
  bucket.underWaySince = now
  return now
}

/** The statement is answered. Slow ones count for little, since anything may have delayed them; a fast one says that all is well. */
function answered(bucket: Bucket, startedAt: number): void {
  const longer = intervalOf(performance.now() - startedAt) - bucket.intervalMs
  bucket.intervalMs += longer > 0 ? longer / 8 : longer
  if (bucket.underWaySince === startedAt) bucket.underWaySince = undefined
}

/** A bucket that would be full again is as good as a new one. */
function forgetIdle(buckets: Map<string, Bucket>): void {
  const fullBefore = performance.now() - burst * longestMs
  for (const [queue, { filledAt, underWaySince, heldSince, lateSince, timer }] of buckets)
    if (filledAt < fullBefore && (underWaySince ?? heldSince ?? lateSince) === undefined && !timer)
      buckets.delete(queue)
}
