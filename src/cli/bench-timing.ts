/**
 * The timing scenarios of `dueq bench`, with a consumer in this process: how long a message takes from the call of
 * `enqueue` to its handler while the consumer is idle, and by how much delayed messages are late.
 *
 * Latency is measured by the clock of this process, lateness by that of the database, the only one that says when a
 * message is due.
 */
import { setTimeout as delay } from 'node:timers/promises'
import type { Message } from '../message.js'
import { type Bench, type BenchPayload, type BenchQueue, fill, type Sample } from './bench-scenario.js'
import { createLatenessRecorder, type LatenessSummary } from './lateness.js'

/** Between two messages the consumer falls asleep again. Not always as long, so as not to keep step with any timer. */
const pauseMs = (): number => 3 + Math.random() * 9
/** Delayed messages fall due so far apart. */
const spacingMs = 5
/** With nothing delivered for so long, what is missing is lost: twice the longest sleep of a consumer. */
const patienceMs = 10_000

/** One message at a time, to a consumer that has nothing else to do. */
export async function latency(bench: Bench): Promise<readonly Sample[]> {
  const queue = await bench.queue('latency')
  const recorder = createLatenessRecorder()
  const deliveries = watch(bench, queue)
  try {
    await listening(bench)
    const endsAt = performance.now() + bench.durationMs
    do {
      await delay(pauseMs(), undefined, { signal: bench.signal })
      const calledAt = performance.now()
      await queue.enqueue(bench.payload)
      bench.counts.enqueued++
      await deliveries.all(deliveries.expected + 1)
      if (deliveries.lastAt > calledAt) recorder.record(deliveries.lastAt - calledAt)
    } while (performance.now() < endsAt)
  } finally {
    await deliveries.stop()
  }
  const { roundTripMs, commitMs } = bench.baseline
  return timings('latency', 'idle latency', recorder.summary(), commitMs ?? roundTripMs)
}

/** Messages due one after the other, all enqueued before the first of them. */
export async function lateness(bench: Bench): Promise<readonly Sample[]> {
  const queue = await bench.queue('lateness')
  const recorder = createLatenessRecorder()
  const messages = Math.max(1, Math.min(bench.messages, Math.floor(bench.durationMs / spacingMs)))
  const deliveries = watch(bench, queue, ({ latenessMs }) => {
    if (latenessMs < 0) bench.counts.early++
    recorder.record(latenessMs)
  })
  try {
    await listening(bench)
    const firstAt = performance.now() + 200 + messages / 10
    const dueIn = (index: number): number => {
      const at = firstAt + (index + Math.random()) * spacingMs
      return Math.max(Math.round(at - performance.now()), 0)
    }
    await fill(bench, queue, messages, dueIn)
    bench.counts.enqueued += messages
    await deliveries.all(messages, firstAt + messages * spacingMs - performance.now() + patienceMs)
  } finally {
    await deliveries.stop()
  }
  return timings('lateness', 'lateness', recorder.summary(), undefined)
}

// --- internal ---

function timings(id: string, label: string, { p50, p99 }: LatenessSummary, bare: number | undefined): Sample[] {
  return [
    { id: `${id}-p50`, label: `${label} p50`, unit: 'ms', value: p50, bare },
    { id: `${id}-p99`, label: `${label} p99`, unit: 'ms', value: p99 },
  ]
}

/** Whoever cannot listen polls: then that is what is measured. */
async function listening({ dueq, signal }: Bench): Promise<void> {
  for (const deadline = performance.now() + 2000; performance.now() < deadline; ) {
    if ((await dueq.check()).isListening) return
    await delay(10, undefined, { signal })
  }
}

/** Consumes, and counts what comes. */
function watch(bench: Bench, queue: BenchQueue, onFirst: (message: Message<BenchPayload>) => void = () => {}) {
  const { counts, signal } = bench
  const seen = new Set<string>()
  let expected = 0
  let lastAt = Number.NEGATIVE_INFINITY
  let notify: () => void = () => {}
  const consumer = queue.consume(
    (message) => {
      if (seen.has(message.id)) {
        counts.twice++
        return
      }
      lastAt = performance.now()
      seen.add(message.id)
      counts.delivered++
      onFirst(message)
      if (seen.size >= expected) notify()
    },
    { concurrency: bench.concurrency },
  )
  return {
    get expected() {
      return expected
    },
    get lastAt() {
      return lastAt
    },
    /** Waits until so many have come in all; counts as lost what does not. */
    async all(count: number, patience = patienceMs): Promise<void> {
      expected = count
      const patienceOver = new AbortController()
      const come = new Promise<void>((resolve) => {
        notify = resolve
      })
      if (seen.size >= expected) return
      const stopping = AbortSignal.any([signal, patienceOver.signal])
      const hasWaited = delay(patience, true, { signal: stopping })
      const outcome = await Promise.race([come, hasWaited, consumer.stopped]).finally(() => patienceOver.abort())
      if (outcome === true) {
        counts.lost += expected - seen.size
        expected = seen.size
      }
    },
    async stop(): Promise<void> {
      await consumer.stop({ deadline: '5s' })
      await queue.purge({ includeLeased: true })
    },
  }
}
