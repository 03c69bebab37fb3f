/**
 * Replays recorded arrivals through a queue, and measures how late each was delivered.
 *
 *   ahead: all are enqueued with their instants, then fall due      (measures the timing of delayed messages)
 *   live:  each is enqueued at its instant, due at once             (measures the way from producer to consumer)
 *
 * Invariant: however it ends, the consumers, the server (or schema) and the journals are gone, unless kept.
 */
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import { connect } from '../connect.js'
import type { QueueHandle } from '../queue.js'
import { type Arrival, type ArrivalsFormat, readArrivals, scaleArrivals } from './arrivals.js'
import { type Crew, startCrew } from './crew.js'
import { parseInstant } from './instant.js'
import { openJournal } from './journal.js'
import { enqueueAhead, enqueueLive, type Planned } from './replay-produce.js'
import { openScratch, type Scratch } from './scratch.js'
import { judge, type Verdict } from './verdict.js'

export type ReplayOptions = {
  readonly file: string
  readonly format?: ArrivalsFormat | undefined
  readonly scale: { readonly inMs: number } | { readonly speed: number }
  readonly mode: 'ahead' | 'live'
  readonly consumers: number
  readonly url?: string | undefined
  readonly isKept: boolean
  readonly signal: AbortSignal
  readonly onNote: (text: string) => void
  readonly onProgress: (progress: ReplayProgress) => void
}

export type ReplayProgress = {
  /** Since the first arrival; negative before. */
  readonly elapsedMs: number
  readonly spanMs: number
  readonly enqueued: number
  readonly delivered: number
  readonly total: number
}

export type ReplayResult = Verdict & {
  /** Where the messages went, for whoever keeps them. */
  readonly schema: string
}

const queueName = 'arrivals'
const leaseMs = 30_000
const progressEveryMs = 500
/** After the last arrival: how long nothing may be delivered before what is left is given up. */
const patienceMs = 10_000

/** Runs a replay. Rejects where the file is wrong, where it cannot run, or where it is interrupted. */
export async function runReplay(options: ReplayOptions): Promise<ReplayResult> {
  const arrivals = await readPlan(options)
  const { signal, isKept, url } = options
  signal.throwIfAborted()
  const over = new AbortController()
  const scratch = await openScratch('replay', { url, isKept })
  const directory = await mkdtemp(join(tmpdir(), 'dueq-replay-'))
  let crew: Crew | undefined
  try {
    signal.throwIfAborted()
    const interrupted = new Promise<never>((_, reject) => {
      signal.addEventListener('abort', () => reject(signal.reason), { once: true })
    })
    const work = async (): Promise<ReplayResult> => {
      await scratch.statements.createQueue(scratch.query, queueName, { leaseMs })
      options.onNote(`${scratch.description}; starting ${options.consumers} consumer processes`)
      let delivered = 0
      crew = await startCrew({
        count: options.consumers,
        directory,
        place: scratch,
        queue: queueName,
        concurrency: 10,
        leaseMs,
        onTally: (tally) => {
          delivered += tally.delivered
        },
      })
      const replayed = replay({ ...options, signal: over.signal }, arrivals, scratch, directory, () => delivered)
      await Promise.race([replayed, crew.failed])
      await crew.stop()
      const verdict = await judge([join(directory, 'producer.ndjson'), ...crew.journals], queueName, scratch)
      return { ...verdict, schema: scratch.schema }
    }
    return await Promise.race([work(), interrupted])
  } finally {
    over.abort()
    await crew?.abandon()
    await scratch.close()
    await rm(directory, { recursive: true, force: true })
  }
}

// --- internal ---

/** All arrivals in the order of time, from 0: scaling needs the last before the first can start. */
async function readPlan({ file, format, scale }: ReplayOptions): Promise<readonly Planned[]> {
  const arrivals: Arrival[] = []
  for await (const arrival of readArrivals(file, format === undefined ? {} : { format })) arrivals.push(arrival)
  const offsets = scaleArrivals(
    arrivals.map(({ offsetMs }) => offsetMs),
    scale,
  )
  return arrivals
    .map(({ payload }, index) => ({ offsetMs: offsets[index]!, payload }))
    .sort((a, b) => a.offsetMs - b.offsetMs)
}

async function replay(
  options: ReplayOptions,
  arrivals: readonly Planned[],
  scratch: Scratch,
  directory: string,
  delivered: () => number,
): Promise<void> {
  const { query, statements, schema } = scratch
  const dueq = connect({ query, schema, listen: false })
  const journal = openJournal(join(directory, 'producer.ndjson'))
  const queue = dueq.queue(queueName)
  const total = arrivals.length
  const spanMs = arrivals.at(-1)?.offsetMs ?? 0
  // Ahead of time everything must be enqueued before the first is due, at a tenth of the usual speed.
  const leadMs = options.mode === 'ahead' ? 2000 + total / 10 : 500
  const nowMs = parseInstant(await statements.serverTime(query)) / 1000
  const startedAt = performance.now() + leadMs
  let enqueued = 0
  const count = (number: number): void => {
    enqueued += number
  }
  const timer = setInterval(() => {
    const elapsedMs = performance.now() - startedAt
    options.onProgress({ elapsedMs, spanMs, enqueued, delivered: delivered(), total })
  }, progressEveryMs)
  try {
    if (options.mode === 'ahead') {
      await enqueueAhead(queue, arrivals, journal, nowMs + leadMs, count)
      const leftMs = startedAt - performance.now()
      options.onNote(`enqueued ${total}, ${(leftMs / 1000).toFixed(1)} s before the first is due`)
      await delay(Math.max(startedAt + spanMs - performance.now(), 0), undefined, { signal: options.signal })
    } else await enqueueLive(queue, arrivals, { journal, nowMs, startedAt, signal: options.signal }, count)
    await untilDelivered(queue, delivered, total, options.signal)
  } finally {
    clearInterval(timer)
    journal.close()
    await dueq.close()
  }
}

/** Waits until the queue is empty, or until nothing more comes: a lost message must not make this wait for ever. */
async function untilDelivered(
  queue: QueueHandle<unknown, unknown>,
  delivered: () => number,
  total: number,
  signal: AbortSignal,
): Promise<void> {
  let seen = -1
  let lastChangeAt = performance.now()
  for (;;) {
    const isThere = delivered() >= total
    const { delayed, ready, leased, lapsed } = await queue.stats()
    if (delayed + ready + leased + lapsed === 0) return
    if (delivered() !== seen) {
      seen = delivered()
      lastChangeAt = performance.now()
    }
    if (performance.now() - lastChangeAt > patienceMs) return
    await delay(isThere ? 20 : 100, undefined, { signal })
  }
}
