/**
 * A run of `dueq bench`: rounds of all scenarios, so that what the machine does meanwhile meets all of them.
 *
 *   open -> warm up -> round 1: baseline, single, bulk, drain, latency, lateness -> round 2 … -> figures
 *
 * Invariant: however it ends, the processes, the queues and the schema of the run are gone. It ends between two
 * statements, because one on its way would meet the queues as they are dropped.
 */
import { randomBytes } from 'node:crypto'
import { defineQueue } from '../definition.js'
import { openPool } from '../pool.js'
import { createDrainers, drain } from './bench-drain.js'
import { type Baseline, type Figure, figuresOf, spreadOf } from './bench-figures.js'
import { type BenchPlace, type BenchTarget, connectTo, openBenchPlace } from './bench-place.js'
import { bulk, single } from './bench-produce.js'
import {
  type Bench,
  type BenchPayload,
  type Counts,
  callersAtOnce,
  type Sample,
  type Scenario,
} from './bench-scenario.js'
import { roundTrip } from './bench-sql.js'
import { latency, lateness } from './bench-timing.js'
import { createLatenessRecorder } from './lateness.js'

export const scenarioNames = ['single', 'bulk', 'drain', 'latency', 'lateness'] as const
export type ScenarioName = (typeof scenarioNames)[number]

export type BenchOptions = {
  readonly target: BenchTarget
  readonly scenarios: readonly ScenarioName[]
  readonly messages: number
  readonly durationMs: number
  readonly rounds: number
  readonly concurrency: number
  readonly connections: number
  readonly payloadBytes: number
  readonly processes: number
  readonly signal: AbortSignal
  readonly onNote: (text: string) => void
  readonly onProgress: (progress: BenchProgress) => void
}

export type BenchProgress = { readonly done: number; readonly total: number; readonly text: string }

export type BenchResult = {
  readonly place: Omit<BenchPlace, 'close'>
  readonly baseline: Baseline
  readonly figures: readonly Figure[]
  readonly counts: Readonly<Counts>
  readonly tookMs: number
}

/** Before the first round everything is done once with little, for the sake of compilers and caches. */
const warmUp = { durationMs: 300, messages: 1000 } as const
const baselineMs = 300
const baselineCalls = 300

/** Measures. Rejects where it cannot, or is interrupted; what became of the messages is for the reader to judge. */
export async function runBench(options: BenchOptions): Promise<BenchResult> {
  const { target, signal, onNote } = options
  const startedAt = performance.now()
  if (target.url === undefined) onNote('starting an embedded PostgreSQL …')
  const place = await openBenchPlace(target)
  for (const run of place.swept) onNote(`removed what ${run} left behind when it was killed`)
  try {
    signal.throwIfAborted()
    if (target.url !== undefined) onNote(`measuring on ${place.description}`)
    const measured = await measure(options, place)
    return { place, ...measured, tookMs: performance.now() - startedAt }
  } finally {
    await place.close()
  }
}

// --- internal ---

type Measured = Pick<BenchResult, 'baseline' | 'figures' | 'counts'>

async function measure(options: BenchOptions, place: BenchPlace): Promise<Measured> {
  const { client } = place
  const { rounds, scenarios, connections, concurrency, processes, signal, onProgress } = options
  const counts: Counts = { enqueued: 0, delivered: 0, early: 0, lost: 0, twice: 0 }
  const dueq = connectTo(client, { connections })
  const pool = openPool({ url: client.url, max: connections, prepare: client.prepare }, 30_000)
  const drainers = createDrainers({ client, connections, concurrency })
  const scenarioOf: Readonly<Record<ScenarioName, Scenario>> = {
    single,
    bulk,
    drain: (bench) => drain(bench, processes),
    latency,
    lateness,
  }
  const bench = {
    dueq,
    async queue(scenario: string) {
      const queue = defineQueue<BenchPayload>(`${client.run}.${scenario}`)
      await dueq.ensure([queue])
      return dueq.queue(queue)
    },
    payload: payloadOf(options.payloadBytes),
    messages: options.messages,
    durationMs: options.durationMs,
    concurrency,
    bare: place.bare && { query: pool.query, statements: place.bare },
    drainers,
    signal,
  }
  const roundTrips: number[] = []
  const commits: number[] = []
  const samples: Sample[] = []
  const total = rounds * (scenarios.length + 1)
  let done = 0
  const step = async <T>(round: number, what: string, work: () => Promise<T>): Promise<T> => {
    signal.throwIfAborted()
    onProgress({ done: done++, total, text: `round ${round} of ${rounds}: ${what}` })
    return work()
  }
  try {
    onProgress({ done: 0, total, text: 'warming up' })
    for (const name of scenarios) {
      signal.throwIfAborted()
      const messages = Math.min(warmUp.messages, options.messages)
      const durationMs = Math.min(warmUp.durationMs, options.durationMs)
      const none: Counts = { enqueued: 0, delivered: 0, early: 0, lost: 0, twice: 0 }
      await scenarioOf[name]({
        ...bench,
        messages,
        durationMs,
        round: 1,
        counts: none,
        baseline: { roundTripMs: 0, commitMs: undefined },
      })
    }
    for (let round = 1; round <= rounds; round++) {
      await step(round, 'round trip and commit', async () => {
        roundTrips.push(await timed(() => roundTrip(pool.query), signal))
        if (place.bare) commits.push(await timed(() => place.bare!.commit(pool.query), signal))
      })
      const baseline = { roundTripMs: roundTrips.at(-1)!, commitMs: commits.at(-1) }
      for (const name of scenarios) {
        const measured: Bench = { ...bench, round, counts, baseline }
        samples.push(...(await step(round, name, () => scenarioOf[name](measured))))
      }
    }
    onProgress({ done: total, total, text: 'cleaning up' })
  } finally {
    await drainers.close()
    await dueq.close({ deadline: '5s' })
    await pool.close()
  }
  const baseline = { roundTripMs: spreadOf(roundTrips), commitMs: commits.length > 0 ? spreadOf(commits) : null }
  return { baseline, figures: figuresOf(samples, baseline), counts }
}

/** The median of many, one after the other; in ms. */
async function timed(call: () => Promise<void>, signal: AbortSignal): Promise<number> {
  const recorder = createLatenessRecorder()
  const one = async (): Promise<void> => {
    const startedAt = performance.now()
    await call()
    recorder.record(performance.now() - startedAt)
  }
  await callersAtOnce(1, one, { calls: baselineCalls, ms: baselineMs, signal })
  return recorder.summary().p50
}

/** So many bytes of JSON, which no compression makes smaller than base64 is. */
function payloadOf(bytes: number): BenchPayload {
  const frame = JSON.stringify({ text: '' }).length
  return {
    text: randomBytes(bytes)
      .toString('base64')
      .slice(0, Math.max(bytes - frame, 0)),
  }
}
