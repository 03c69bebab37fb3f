// Fewer notifications than commits. Notifying commits wait for each other, in the whole cluster, and one notification tells a
// consumer as much as a hundred. So a client has one under way for each queue, and one in 3 ms, which leaves a stream of 300 messages
// a second as it is; where such commits have become slow, fewer. (64 connections in 8 processes: 9,000 commits a second without
// notifications, 3,000 with one in each, and also with one for each process in 3 ms; 8,500 with what is below.)
//
//   message -- token, none under way --> with a notification, which speaks for those that were held back and are committed
//      `------ none -------------------> without; answered --> held back -- nobody spoke for it, token --> a statement `wake`
//
// Invariants: what was held back is told of within a few milliseconds of its answer, be its outcome unknown; within 50 ms what is
// due 200 ms later or more. A process that dies before that loses a hint, and the poll interval finds the message. A
// notification speaks for what is due no sooner than the instant that it names, and is committed by then: there a sleeper looks,
// and finds what comes next. What is due at an instant (`at`), by a clock that is not ours, is left to the database; so is what is
// due after the longest poll interval, of which it tells nobody.
import type { Enqueuer, Sender } from './enqueuer.js'
import { isDueqError } from './errors.js'
import type { Enqueueing } from './statements-produce.js'

/** The time from one notification to the next, in ms: eight times what its commit takes beyond a millisecond, within limits. */
const shortestMs = 3
const longestMs = 50
const intervalOf = (commitMs: number): number => Math.min(Math.max((commitMs - 1) * 8, shortestMs), longestMs)
/** What is due so much later, in ms, can wait for others of its kind: one notification in the longest interval. */
const laterMs = 200
/** The longest poll interval, in ms. */
const longestPollMs = 3_600_000
/** So many without a pause, after a long one. */
const burst = 3
/** A `wake` that fails is repeated after so long, and for so long, in ms: by then consumers have looked by themselves. */
const retryMs = 100
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
  /** When the first is due of the messages that nobody was told of. */
  heldSince: number | undefined
  /** The same of what took so long that looks may have passed it: for that only a `wake` speaks, which names its instant. */
  lateSince: number | undefined
  /** When somebody was last told of something. */
  toldAt: number
  /** Since when `wake` fails. */
  failingSince: number | undefined
  timer: NodeJS.Timeout | undefined
  timerAt: number
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
      toldAt: Number.NEGATIVE_INFINITY,
      failingSince: undefined,
      timer: undefined,
      timerAt: Number.POSITIVE_INFINITY,
    }
    buckets.set(queue, bucket)
    return bucket
  }
  /** `since`: when the first of what is held back is due. */
  const hold = (bucket: Bucket, since: number, isUrgent = since - performance.now() < laterMs): void => {
    if (isClosed) return
    const now = performance.now()
    if (now - since > spokenForMs) bucket.lateSince = Math.min(bucket.lateSince ?? since, since)
    else bucket.heldSince = Math.min(bucket.heldSince ?? since, since)
    const tellAt = now + (bucket.failingSince !== undefined ? retryMs : isUrgent ? toNextToken(bucket) : longestMs)
    if (bucket.timer && bucket.timerAt <= tellAt) return
    clearTimeout(bucket.timer)
    bucket.timer = setTimeout(tell, tellAt - now, bucket)
    bucket.timerAt = tellAt
  }
  const tell = async (bucket: Bucket): Promise<void> => {
    bucket.timer = undefined
    const since = earliest(bucket)
    if (since === undefined) return
    const startedAt = takeToken(bucket)
    if (startedAt === undefined) return hold(bucket, since, true)
    bucket.heldSince = bucket.lateSince = undefined
    try {
      await sender.wake(bucket.queue, startedAt - since)
      bucket.failingSince = undefined
    } catch {
      bucket.failingSince ??= startedAt
      if (startedAt - bucket.failingSince < giveUpMs) hold(bucket, since)
      else bucket.failingSince = undefined
    } finally {
      answered(bucket, startedAt)
    }
  }
  const send = <T>(queue: string, delayMs: number, run: (isWaking: boolean) => Promise<T>): Promise<T> => {
    const bucket = bucketOf(queue)
    const sentAt = performance.now()
    const dueAt = sentAt + delayMs
    const isToWait = delayMs >= laterMs && (bucket.timer !== undefined || sentAt - bucket.toldAt < longestMs)
    const startedAt = isToWait ? undefined : takeToken(bucket)
    const isWaking = startedAt !== undefined
    const { heldSince } = bucket
    const speaksForHeld = isWaking && heldSince !== undefined && dueAt <= Math.max(heldSince, sentAt)
    if (speaksForHeld) bucket.heldSince = undefined
    const since = isWaking ? (speaksForHeld ? heldSince : undefined) : dueAt
    const answer = run(isWaking)
    const failed = (error: unknown): void => {
      if (isWaking) answered(bucket, startedAt)
      const isHeld = isWaking || !isDueqError(error) || error.isOutcomeUnknown
      if (since !== undefined && isHeld) hold(bucket, since)
    }
    answer.then(() => {
      if (isWaking) answered(bucket, startedAt)
      else hold(bucket, dueAt)
    }, failed)
    return answer
  }

  return {
    one(queue, message, deadline) {
      const delayMs = message.dedupKey === undefined ? firstDelayMs([message]) : undefined
      return delayMs === undefined
        ? sender.one(queue, message, true, deadline)
        : send(queue, delayMs, (isWaking) => sender.one(queue, message, isWaking, deadline))
    },
    many(queue, messages, deadline) {
      const delayMs = firstDelayMs(messages)
      return delayMs === undefined
        ? sender.many(queue, messages, true, deadline)
        : send(queue, delayMs, (isWaking) => sender.many(queue, messages, isWaking, deadline))
    },
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

/** After how many ms the first is due; undefined: left to the database. */
function firstDelayMs(messages: readonly Enqueueing[]): number | undefined {
  let first = longestPollMs
  for (const { delayMs = 0, at } of messages) {
    if (at !== undefined) return undefined
    first = Math.min(first, delayMs)
  }
  return first < longestPollMs ? first : undefined
}

function earliest({ heldSince, lateSince }: Bucket): number | undefined {
  return heldSince === undefined || lateSince === undefined ? (heldSince ?? lateSince) : Math.min(heldSince, lateSince)
}

/** How long to wait for a token, in ms. */
function toNextToken({ tokens, intervalMs }: Bucket): number {
  return Math.max((1 - tokens) * intervalMs, shortestMs)
}

/** Takes a token, for a statement that is sent now: at the instant that it gives. */
function takeToken(bucket: Bucket): number | undefined {
  const now = performance.now()
  if (bucket.underWaySince !== undefined && now - bucket.underWaySince < longestMs) return undefined
  bucket.tokens = Math.min(burst, bucket.tokens + (now - bucket.filledAt) / bucket.intervalMs)
  bucket.filledAt = now
  if (bucket.tokens < 1) return undefined
  bucket.tokens--
  bucket.underWaySince = bucket.toldAt = now
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
