/**
 * One consumer process of the drain scenario of `dueq bench`, started by bench-drain.ts.
 *
 *   idle -- drain --> draining -- stop --> idle
 *     `------ the parent is gone ------> removes what the run left behind -> gone
 *
 * The handler does nothing but count, and what was counted is told every few milliseconds.
 */
import { setTimeout as delay } from 'node:timers/promises'
import { openPool } from '../pool.js'
import { removeQueues } from './bench-leftovers.js'
import { type BenchClient, connectTo } from './bench-place.js'
import { dropRunSchema } from './bench-sql.js'
import { removeAbandoned } from './scratch.js'

/** What the process is for. */
export type DrainerOrder = { readonly client: BenchClient; readonly connections: number; readonly concurrency: number }

export type DrainerCommand =
  | { readonly type: 'warm' }
  | { readonly type: 'drain'; readonly queue: string }
  | { readonly type: 'stop' }

export type DrainerReport =
  | { readonly type: 'ready' }
  /** In all since `drain`. `lastAt` is in ms since 1970, with fractions: processes of one host share that clock. */
  | { readonly type: 'handled'; readonly count: number; readonly lastAt: number }
  | { readonly type: 'stopped'; readonly cpuMs: number }
  | { readonly type: 'failed'; readonly message: string }

/**
 * Where the order is: not among the arguments, which other users can read and the URL holds a password; and not in a
 * message, which is lost where the parent dies before this process listens.
 */
const orderVariable = 'DUEQ_BENCH_ORDER'
const reportEveryMs = 5

// Ctrl-C reaches every process of the terminal; what it means is decided by the parent.
for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.on(signal, () => {})
start(JSON.parse(process.env[orderVariable] ?? 'null'))

// --- internal ---

function report(what: DrainerReport): void {
  if (process.connected) process.send!(what, () => {})
}

function start({ client, connections, concurrency }: DrainerOrder): void {
  const dueq = connectTo(client, { connections })
  let stop: (() => Promise<void>) | undefined

  const drain = (queue: string): void => {
    let count = 0
    let lastAt = 0
    let told = 0
    const tell = (): void => {
      if (count === told) return
      told = count
      report({ type: 'handled', count, lastAt })
    }
    const before = process.cpuUsage()
    const consumer = dueq.queue(queue).consume(
      () => {
        count++
        lastAt = performance.timeOrigin + performance.now()
      },
      { concurrency },
    )
    consumer.stopped.catch(fail)
    const timer = setInterval(tell, reportEveryMs)
    stop = async () => {
      const { user, system } = process.cpuUsage(before)
      await consumer.stop({ deadline: '10s' })
      clearInterval(timer)
      tell()
      report({ type: 'stopped', cpuMs: (user + system) / 1000 })
    }
  }
  const fail = (error: unknown): void => {
    report({ type: 'failed', message: error instanceof Error ? error.message : String(error) })
  }
  const obey = (command: DrainerCommand): void => {
    if (command.type === 'drain') drain(command.queue)
    else if (command.type === 'stop') stop?.().catch(fail)
    // As many at once as there are connections: then each is open.
    else
      Promise.all(Array.from({ length: connections }, () => dueq.check()))
        .then(() => report({ type: 'ready' }))
        .catch(fail)
  }

  process.on('message', obey)
  process.once('disconnect', () => void clearAway(client, () => dueq.close({ deadline: '1s' })))
  // The parent may have died before this process was up.
  if (!process.connected) void clearAway(client, () => dueq.close({ deadline: '1s' }))
}

/** First no more statements: a drop of the schema in their midst would be a deadlock. */
async function clearAway(client: BenchClient, close: () => Promise<unknown>): Promise<void> {
  await Promise.race([close(), delay(2000)]).catch(() => {})
  const { url, schema, run, isEmbedded, isScratch } = client
  if (isScratch) await removeAbandoned({ url, schema, isEmbedded, isKept: false }).catch(() => {})
  else {
    const pool = openPool({ url, max: 1, prepare: false }, 10_000)
    // Its siblings are at it too: whoever comes second finds nothing.
    await removeQueues(pool.query, schema, run).catch(() => {})
    await dropRunSchema(pool.query, run).catch(() => {})
    await pool.close()
  }
  process.exit()
}
