// The doctor: what only a client can see (its version, its clock, whether notifications and prepared statements get through),
// and then the checks of the function doctor() in the database.
//
// Invariant: a check that fails, or that cannot be made, is a row of the report and hides no other. Only without a connection,
// or without any dueq in the schema, is there nothing to report on, and the doctor rejects.

import { fromDatabase } from './database-errors.js'
import { isPostgresJs, type Query } from './driver.js'
import type { DueqEvent } from './events.js'
import { type ListenSource, listenSource, openListener } from './listen-source.js'
import { openPool, type Pool, type Source } from './pool.js'
import { lookAtSchema } from './schema.js'
import type { Statements } from './statements.js'
import type { Check } from './statements-doctor.js'
import { createWakeups } from './wakeup.js'

/** What the doctor looks at. */
export type Patient = {
  /** Runs statements whatever the version of the schema is. */
  readonly query: Query
  readonly statements: Statements
  readonly schema: string
  readonly source: Source
  /** Where consumers listen; undefined where no such connection is known, `off` where they are told not to. */
  readonly listen: ListenSource | 'off' | undefined
  /** Whether notifications are arriving at this client already. */
  readonly isListening: boolean
}

const listenWithinMs = 8_000
const skewLimitMs = 5_000
const preparedWithinMs = 3_000
/** For how long the probe occupies a connection of a pooler, so that the next statement gets another one. */
const busyMs = 150

/** All checks, those of the host first. Raises `schema.missing`, `database.*`, `client.closed`. */
export async function examine(patient: Patient): Promise<Check[]> {
  const start = performance.now()
  const { version, error } = await lookAtSchema(patient.query, patient.statements, patient.schema)
  const answerMs = performance.now() - start
  // Before this host listens: its own connection would pass for that of a consumer.
  const { summary, rows } = await inDatabase(patient)
  const skew = await attempt('clock skew', () => clockSkew(patient))
  // Both wait for seconds where a pooler swallows what they ask.
  const throughPoolers = await Promise.all([
    attempt('listen', () => listens(patient)),
    attempt('prepared statements', () => preparesStatements(patient)),
  ])
  return [
    well('connection', `first answer after ${inWords(answerMs)}`),
    error
      ? ill('schema version', `version ${version} does not fit this client (${error.code})`, error.message)
      : well('schema version', `version ${version} fits this client`),
    skew,
    ...throughPoolers,
    summary,
    ...rows,
  ]
}

// --- internal ---

const well = (check: string, detail: string): Check => ({ check, ok: true, detail, advice: null })
const ill = (check: string, detail: string, advice: string): Check => ({ check, ok: false, detail, advice })

async function attempt(check: string, look: () => Promise<Check>): Promise<Check> {
  try {
    return await look()
  } catch (error) {
    return ill(
      check,
      `could not be looked at: ${fromDatabase(error).message}`,
      'Mend what the error says, and ask again.',
    )
  }
}

async function inDatabase({
  query,
  statements,
}: Patient): Promise<{ readonly summary: Check; readonly rows: readonly Check[] }> {
  const start = performance.now()
  let rows: readonly Check[] = []
  const summary = await attempt('database', async () => {
    rows = await statements.doctor(query)
    return well('database', `${rows.length} checks inside the database took ${inWords(performance.now() - start)}`)
  })
  return { summary, rows }
}

/** The server's time lies between sending and receiving; the fastest of three looks says most. */
async function clockSkew({ query, statements }: Patient): Promise<Check> {
  let best = { skewMs: 0, roundTripMs: Number.POSITIVE_INFINITY }
  for (let look = 0; look < 3; look++) {
    const [sentAt, start] = [Date.now(), performance.now()]
    const serverMs = epochMs(await statements.serverTime(query))
    const roundTripMs = performance.now() - start
    if (roundTripMs < best.roundTripMs) best = { skewMs: serverMs - (sentAt + roundTripMs / 2), roundTripMs }
  }
  const { skewMs, roundTripMs } = best
  const relation = skewMs > 0 ? 'ahead of' : 'behind'
  const detail = `the database is ${inWords(Math.abs(skewMs))} ${relation} this host (± ${inWords(roundTripMs / 2)})`
  if (Math.abs(skewMs) <= skewLimitMs + roundTripMs) return well('clock skew', detail)
  return ill(
    'clock skew',
    detail,
    'dueq goes by the clock of the database alone, so delays are right; instants (`at`) that this host computes are off by as much. Synchronise the clocks.',
  )
}

/** Listens the way a consumer does, and waits for a notification to itself. */
async function listens({ query, statements, schema, listen, isListening }: Patient): Promise<Check> {
  const advice =
    'Consumers poll instead, at every poll interval. Give `listenUrl` (DUEQ_LISTEN_URL) a connection past the pooler, with `prepare: false` for the other; or say `listen: false`.'
  if (listen === 'off') return well('listen', 'not used (`listen: false`): consumers poll')
  if (listen === undefined) return ill('listen', 'no connection is known on which to listen', advice)
  if (isListening) return well('listen', 'notifications arrive')

  let heard: (event: DueqEvent | undefined) => void = () => {}
  const first = new Promise<DueqEvent | undefined>((resolve) => {
    heard = resolve
  })
  const start = performance.now()
  const timer = setTimeout(() => heard(undefined), listenWithinMs)
  const wakeups = createWakeups({
    source: listen,
    channel: schema,
    statements,
    query,
    emit: heard,
  })
  const unsubscribe = wakeups.subscribe('doctor', () => {})
  const event = await first
  const took = inWords(performance.now() - start)
  clearTimeout(timer)
  unsubscribe()
  await wakeups.close()
  if (event?.type === 'listen.up') return well('listen', `notifications arrive (${took})`)
  if (event?.type === 'listen.lost') {
    return ill(
      'listen',
      `cannot listen: ${fromDatabase(event.error.cause).message}`,
      'Mend what the error says (`listenUrl`, DUEQ_LISTEN_URL). Consumers poll meanwhile, and try again by themselves.',
    )
  }
  const silence = `LISTEN is accepted, but a notification to ourselves did not arrive within ${took}: probably a pooler in transaction mode`
  return ill('listen', silence, advice)
}

/**
 * Prepares a statement, and runs it again while another session keeps busy what a pooler in transaction mode had lent for
 * the first time: it is then run where it was not prepared. Twice at once, as callers do: postgres.js mends a single
 * statement, but waits for ever for the second of two on one connection. (A pool of dueq has one on each at a time.)
 */
async function preparesStatements({ source, statements }: Patient): Promise<Check> {
  const check = 'prepared statements'
  const probes = 'url' in source ? ownProbes(source) : sharedProbes(source)
  if (!probes) return well(check, 'not used, as far as can be known: the connections are yours')
  const [own, other] = probes.pools
  try {
    const again = async (): Promise<string> => {
      await new Promise((resolve) => setTimeout(resolve, busyMs / 2))
      return statements.serverPid(own.query, 0)
    }
    await statements.serverPid(other.query, 0) // connects
    let isPooled = false
    for (let left = 3; left > 0 && !isPooled; left--) {
      // A pooler lends first what came back last.
      const before = await statements.serverPid(own.query, 0)
      const [, ...after] = await Promise.all([statements.serverPid(other.query, busyMs), again(), again()])
      isPooled = after.some((pid) => pid !== before)
    }
    return well(check, isPooled ? 'they work, also through the pooler in between' : 'they work')
  } catch (error) {
    const reason = `through a pooler in between they fail: ${fromDatabase(error).message}`
    if (!probes.isPrepared) return well(check, `not used (\`prepare: false\`); ${reason}`)
    return ill(check, reason, 'Use `prepare: false`, or a pooler that keeps prepared statements (PgBouncer from 1.21).')
  } finally {
    await probes.close()
  }
}

type Probes = {
  readonly pools: readonly [Pool, Pool]
  /** Whether the client that is looked at prepares its statements. */
  readonly isPrepared: boolean
  close(): Promise<unknown>
}

function ownProbes(source: Extract<Source, { readonly url: string }>): Probes {
  const [own, other] = [true, false].map((prepare) => openPool({ ...source, max: 1, prepare }, preparedWithinMs))
  return { pools: [own!, other!], isPrepared: source.prepare, close: () => Promise.all([own!.close(), other!.close()]) }
}

/** Connections like those of the user's postgres.js instance. No other driver prepares what dueq sends. */
function sharedProbes(source: Extract<Source, { readonly shared: unknown }>): Probes | undefined {
  const options = listenSource(source, undefined)
  if (!isPostgresJs(source.shared) || !options || source.shared.options?.prepare === false) return undefined
  const [own, other] = [openListener(options), openListener(options)]
  const [ownPool, otherPool] = [own, other].map((shared) => openPool({ shared }, preparedWithinMs))
  const close = () => Promise.all([own.end({ timeout: 0 }), other.end({ timeout: 0 })])
  return { pools: [ownPool!, otherPool!], isPrepared: true, close }
}

/** A time as people say it: from 0.01 ms to days. */
function inWords(ms: number): string {
  if (ms < 1_000) return `${Number(ms.toPrecision(2))} ms`
  if (ms < 90_000) return `${Number((ms / 1_000).toPrecision(2))} s`
  if (ms < 5_400_000) return `${Number((ms / 60_000).toPrecision(2))} min`
  return `${Number((ms / 3_600_000).toPrecision(3))} h`
}

/** An ISO text with microseconds as ms since 1970, microseconds kept as a fraction. */
function epochMs(text: string): number {
  const micros = /\.\d{3}(\d{1,3})/.exec(text)?.[1]
  return Date.parse(text) + (micros ? Number(micros.padEnd(3, '0')) / 1000 : 0)
}
