/**
 * What every scenario of `dueq bench` gets, and the ways of working that they share.
 *
 * Invariant: at most `messages` rows of a scenario are in the database at once, and none after it.
 */
import type { Dueq } from '../connect.js'
import type { Query } from '../driver.js'
import type { QueueHandle } from '../queue.js'
import type { Drainers } from './bench-drain.js'
import type { Sample } from './bench-figures.js'
import type { BareStatements } from './bench-sql.js'

export type BenchPayload = { readonly text: string }
export type BenchQueue = QueueHandle<BenchPayload, BenchPayload>

export type Bench = {
  readonly dueq: Dueq
  /** A queue of the run, made for this scenario. */
  queue(scenario: string): Promise<BenchQueue>
  readonly payload: BenchPayload
  readonly messages: number
  readonly durationMs: number
  readonly concurrency: number
  /** Even rounds do the bare statements first, so that neither side is always the one that warms up the other. */
  readonly round: number
  readonly bare: { readonly query: Query; readonly statements: BareStatements } | undefined
  readonly baseline: { readonly roundTripMs: number; readonly commitMs: number | undefined }
  readonly drainers: Drainers
  readonly counts: Counts
  readonly signal: AbortSignal
}

export type Scenario = (bench: Bench) => Promise<readonly Sample[]>

/** What became of the messages that were to be delivered. */
export type Counts = {
  enqueued: number
  delivered: number
  early: number
  lost: number
  /** Delivered again. */
  twice: number
}

export type { Sample }

/** Enqueues so many in arrays of at most this many bytes of payload; the options may differ from one to the other. */
export async function fill(
  bench: Bench,
  queue: BenchQueue,
  messages: number,
  delayMs?: (index: number) => number,
): Promise<number> {
  const size = chunkSize(bench.payload)
  const startedAt = performance.now()
  for (let from = 0; from < messages; from += size) {
    bench.signal.throwIfAborted()
    const items = Array.from({ length: Math.min(size, messages - from) }, (_, index) =>
      delayMs ? { payload: bench.payload, delay: delayMs(from + index) } : { payload: bench.payload },
    )
    await queue.enqueueMany(items)
  }
  return performance.now() - startedAt
}

/** How many messages one array takes: a thousand, fewer of large ones. */
export function chunkSize({ text }: BenchPayload): number {
  return Math.max(1, Math.min(1000, Math.floor(4_000_000 / (text.length + 1))))
}

/**
 * Calls again and again, so many callers at once, until the time is over or enough was called. Gives the calls and the time
 * until the last was answered. After an error no more calls are made, and none is under way when this rejects.
 */
export async function callersAtOnce(
  callers: number,
  call: () => Promise<unknown>,
  limits: { readonly calls: number; readonly ms: number; readonly signal: AbortSignal },
): Promise<{ readonly calls: number; readonly tookMs: number }> {
  const startedAt = performance.now()
  const endsAt = startedAt + limits.ms
  let calls = 0
  let failure: { readonly error: unknown } | undefined
  const caller = async (): Promise<void> => {
    while (calls < limits.calls && performance.now() < endsAt && !failure && !limits.signal.aborted) {
      calls++
      await call().catch((error: unknown) => {
        failure ??= { error }
      })
    }
  }
  await Promise.all(Array.from({ length: callers }, caller))
  limits.signal.throwIfAborted()
  if (failure) throw (failure as { readonly error: unknown }).error
  return { calls, tookMs: performance.now() - startedAt }
}

/** Measures the processor time of this process, as a share of one core, while something runs. */
export function startCpuClock(): () => number {
  const startedAt = performance.now()
  const before = process.cpuUsage()
  return () => {
    const { user, system } = process.cpuUsage(before)
    return (user + system) / 1000 / (performance.now() - startedAt)
  }
}
