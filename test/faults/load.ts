/**
 * A load: producers at a rate, consumers as processes, a journal for each, and the log checker at the end.
 *
 *   start -> (the test does its worst) -> finish: producers stop, the queue is emptied, SIGTERM, judge
 *
 * Invariant: a load that is finished has left no process behind, and none of them was killed to get there.
 */
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import type postgres from 'postgres'
import { expect } from 'vitest'
import { parseInstant } from '../../src/cli/instant.js'
import { openJournal, readJournals } from '../../src/cli/journal.js'
import { judge, type Verdict } from '../../src/cli/verdict.js'
import { queryOf } from '../../src/driver.js'
import type { ConnectOptions, Dueq } from '../../src/index.js'
import { statements as statementsOf } from '../../src/statements.js'
import { startProcess, type TestProcess } from '../support/processes.js'
import { variant } from '../support/variant.js'

/** How long the load of a test lasts: short, unless a longer run is asked for. */
export const loadSeconds = variant.seconds ?? 4

/** What a consumer process is told to do with one message. */
export type LoadPayload = {
  readonly ref: string
  readonly workMs: number
  /** How long its first handler keeps the process from doing anything else. */
  readonly blockMs?: number
  readonly isFailing?: boolean
}

/** A line that a consumer process tells about itself. */
export type LoadLine = {
  readonly at: number
  readonly isReady?: true
  readonly event?: string
  readonly id?: string
  readonly attempt?: number
  readonly code?: string
  readonly blocking?: string
  readonly blocked?: string
  readonly aborted?: string
  readonly isAborted?: boolean
  readonly unhandledRejection?: string
  readonly uncaughtException?: string
  /** The code with which its consumer stopped. */
  readonly failed?: string
  readonly report?: { readonly stillRunning: number }
}

export type LoadOptions = {
  /** A connection that no fault touches. */
  readonly sql: postgres.Sql
  readonly schema: string
  readonly queue: string
  /** The lease of the queue. */
  readonly leaseMs: number
  /** The producers' client. */
  readonly producer: Dueq
  /** Messages per second; 0 leaves enqueueing to the test. */
  readonly rate: number
  /** One process each, by the URL it connects to. */
  readonly consumers: readonly string[]
  /** Options of `connect` in the consumer processes. */
  readonly connect?: ConnectOptions
  /** The module from which those consumers import dueq. Without: the one that was built. */
  readonly client?: string
}

export type Load = {
  readonly consumers: readonly TestProcess[]
  readonly counts: { readonly sent: number; readonly committed: number; readonly unknown: number }
  /** Enqueues one message and journals it. Null where nobody knows whether it was. */
  enqueue(payload?: Partial<LoadPayload>, delayMs?: number): Promise<string | null>
  /** Starts one more consumer, with the dueq that was built unless `client` is another. */
  start(url: string, client?: string): Promise<TestProcess>
  /** All lines of all consumers of a kind. */
  lines(accepts: (line: LoadLine) => boolean): LoadLine[]
  /** Instants of all claims so far, in ms since 1970, by the clock of the database. */
  claimedAts(): Promise<number[]>
  /** Waits until so many consumers have told that they listen. */
  listening(count: number): Promise<void>
  /** Waits until 50 more messages were claimed: deliveries go on. */
  goesOn(): Promise<void>
  /** Sends SIGTERM to a consumer; it must end by itself, with code 0, in time. */
  terminate(consumer: TestProcess): Promise<void>
  /** Judges the run. */
  finish(): Promise<Verdict>
  [Symbol.asyncDispose](): Promise<void>
}

const tickMs = 20
/** How long emptying the queue may take, and how long nothing may move before that is given up. */
const patienceMs = 20_000
/** A process that is told to end closes within 3 s, and some more where it must give something up. */
const exitWithinMs = 15_000

export async function startLoad(options: LoadOptions): Promise<Load> {
  const { sql, schema, queue, leaseMs, producer, rate } = options
  const database = { query: queryOf(sql), statements: statementsOf(schema) }
  const directory = await mkdtemp(join(tmpdir(), 'dueq-load-'))
  const journals = [join(directory, 'producer.ndjson')]
  const journal = openJournal(journals[0]!)
  const consumers: TestProcess[] = []
  const start = async (url: string, client = ''): Promise<TestProcess> => {
    const path = join(directory, `${journals.length}.ndjson`)
    const consumer = startProcess('test/faults/fixtures/load-consumer.mjs', [], {
      DUEQ_URL: url,
      DUEQ_LISTEN_URL: '',
      DUEQ_TEST_SCHEMA: schema,
      DUEQ_QUEUE: queue,
      JOURNAL: path,
      CLIENT: client,
      LEASE_MS: String(leaseMs),
      OPTIONS: JSON.stringify(options.connect ?? {}),
    })
    consumers.push(consumer)
    journals.push(path)
    await consumer.waitForLine<LoadLine>(({ isReady }) => isReady === true, 30_000)
    return consumer
  }
  await Promise.all(options.consumers.map((url) => start(url, options.client)))

  // --- producing

  const serverMs = parseInstant(await database.statements.serverTime(database.query)) / 1000
  const readAt = performance.now()
  const counts = { sent: 0, committed: 0, unknown: 0 }
  const underWay = new Set<Promise<unknown>>()
  const enqueue = async (payload: Partial<LoadPayload> = {}, delayMs = 0): Promise<string | null> => {
    const ref = String(counts.sent++)
    // A lower bound, by the clock of the database; two clocks may differ a little in rate.
    const dueAt = new Date(Math.floor(serverMs + (performance.now() - readAt) * 0.999 - 1 + delayMs)).toISOString()
    const record = { type: 'enqueued', ref, dueAt } as const
    journal.write({ ...record, id: null, outcome: 'unknown' })
    try {
      const message = { ref, workMs: Math.random() * 10, isFailing: Math.random() < 0.05, ...payload }
      const { id } = await producer.queue<LoadPayload>(queue).enqueue(message, { delay: delayMs })
      counts.committed++
      journal.write({ ...record, id, outcome: 'committed' })
      return id
    } catch {
      counts.unknown++
      return null
    }
  }
  let askedFor = 0
  const timer = setInterval(() => {
    for (; askedFor < ((performance.now() - readAt) * rate) / 1000; askedFor++) {
      const delayMs = Math.random() < 0.5 ? 0 : Math.floor(Math.random() * 300)
      const sent = enqueue({}, delayMs).finally(() => underWay.delete(sent))
      underWay.add(sent)
    }
  }, tickMs)

  // --- ending

  const lines = (accepts: (line: LoadLine) => boolean): LoadLine[] =>
    consumers.flatMap((consumer) => (consumer.lines as readonly LoadLine[]).filter(accepts))
  const claimedAts = async (): Promise<number[]> => {
    const ats: number[] = []
    for await (const record of readJournals(journals))
      if (record.type === 'claimed') ats.push(parseInstant(record.at) / 1000)
    return ats.sort((a, b) => a - b)
  }
  const untilEmpty = async (): Promise<void> => {
    let before = -1
    for (let since = performance.now(); performance.now() - since < patienceMs; await delay(50)) {
      const [row] = await sql`select count(*)::int as count from ${sql(schema)}.messages`
      const count = row!['count'] as number
      if (count === 0) return
      if (count !== before) since = performance.now()
      before = count
    }
  }
  const terminate = async (consumer: TestProcess): Promise<void> => {
    process.kill(consumer.pid, 'SIGTERM')
    const exit = await Promise.race([consumer.exited, delay(exitWithinMs, 'still alive', { ref: false })])
    expect(exit, `${JSON.stringify(consumer.lines.slice(-5))} ${consumer.stderr}`).toEqual({ code: 0, signal: null })
  }
  const isOver = new Set<TestProcess>()
  return {
    consumers,
    counts,
    enqueue,
    start,
    lines,
    async listening(count) {
      await expect.poll(() => lines(({ event }) => event === 'listen.up').length, { timeout: 30_000 }).toBe(count)
    },
    claimedAts,
    async goesOn() {
      const before = (await claimedAts()).length
      const claimed = async (): Promise<number> => (await claimedAts()).length - before
      await expect.poll(claimed, { timeout: 30_000, interval: 250 }).toBeGreaterThan(50)
    },
    async terminate(consumer) {
      isOver.add(consumer)
      await terminate(consumer)
    },
    async finish() {
      clearInterval(timer)
      await Promise.all(underWay)
      await untilEmpty()
      await Promise.all(consumers.filter((consumer) => !isOver.has(consumer)).map(terminate))
      expect(lines((line) => 'unhandledRejection' in line || 'uncaughtException' in line)).toEqual([])
      return judge(journals, queue, database)
    },
    async [Symbol.asyncDispose]() {
      clearInterval(timer)
      await Promise.all(consumers.map((consumer) => consumer.kill()))
      journal.close()
      await rm(directory, { recursive: true, force: true })
    },
  }
}

/** Holds the verdict against the promises, and prints the counts. */
export function expectClean({ report, leftOver }: Verdict, title: string): void {
  const { ok, enqueued, committed, unknown, delivered, duplicates, explainedDuplicates, presumedAcked, problems } =
    report
  console.log(
    `${title}: ${enqueued} enqueued (${committed} known to be committed, ${unknown} of unknown outcome), ${delivered} delivered, ` +
      `${duplicates} duplicates (${explainedDuplicates} explained), ${presumedAcked} presumed acked, ${leftOver} left over; ` +
      `lost ${report.lost}, phantom ${report.phantom}, early ${report.early}, shared ${report.shared}, settled twice ${report.settledTwice}`,
  )
  expect(problems).toEqual([])
  expect(ok).toBe(true)
  expect(explainedDuplicates).toBe(duplicates)
  expect(leftOver).toBe(0)
}
