/**
 * A primary with a synchronous standby, both servers of the test's own, with a migrated schema.
 */
import { readFileSync } from 'node:fs'
import { inject, type TestContext } from 'vitest'
import { type EmbeddedServer, EmbeddedUnavailableError, startEmbedded } from '../../src/cli/embedded.js'
import { type EmbeddedStandby, replicationSettings, startStandby } from '../../src/cli/embedded-standby.js'
import { type DueqError, isDueqError } from '../../src/errors.js'
import { type ConnectOptions, connect, type Dueq, defineQueue } from '../../src/index.js'
import { migrate } from '../../src/migrate.js'

export type Pair = {
  readonly primary: EmbeddedServer
  readonly standby: EmbeddedStandby
  /** The URL of both, in the order of these ports. @default the primary first */
  urlOf(...ports: readonly number[]): string
  /** A client on both, closed with the pair. */
  client(options?: ConnectOptions): Dueq
  [Symbol.asyncDispose](): Promise<void>
}

/** The short poll interval makes waking by notification no part of what is tested. */
export const load = defineQueue<number>('load', { lease: '3s', pollInterval: '200ms' })

/**
 * Stops all processes of a server where they are, as a machine does that hangs: connections stay open, new ones are accepted
 * by the system, and nobody answers. Returns what ends it.
 */
export function freeze({ pid }: EmbeddedServer): () => void {
  const children = readFileSync(`/proc/${pid}/task/${pid}/children`, 'utf8').split(' ').filter(Boolean).map(Number)
  for (const one of [pid, ...children]) process.kill(one, 'SIGSTOP')
  return () => {
    for (const one of [...children, pid]) process.kill(one, 'SIGCONT')
  }
}

/** Starts both; skips the test where this platform has no binaries. */
export async function startPair(test: TestContext): Promise<Pair> {
  return (await openPair()) ?? test.skip('There are no PostgreSQL binaries for this platform')
}

/** The same for a whole file; undefined where this platform has no binaries. */
export async function openPair(): Promise<Pair | undefined> {
  const settings = { ...replicationSettings, fsync: 'off' }
  let primary: EmbeddedServer
  try {
    primary = await startEmbedded({ settings, major: inject('serverMajor') })
  } catch (error) {
    if (error instanceof EmbeddedUnavailableError) return undefined
    throw error
  }
  const clients: Dueq[] = []
  let standby: EmbeddedStandby
  try {
    await migrate({ url: primary.url, schema: 'dueq' })
    standby = await startStandby(primary)
  } catch (error) {
    await primary.stop()
    throw error
  }
  const urlOf = (...ports: readonly number[]): string => {
    const hosts = (ports.length > 0 ? ports : [primary.port, standby.port]).map((port) => `127.0.0.1:${port}`)
    return primary.url.replace(/127\.0\.0\.1:\d+/, hosts.join(','))
  }
  return {
    primary,
    standby,
    urlOf,
    client(options = {}) {
      const dueq = connect({ url: urlOf(), schema: 'dueq', onEvent: () => {}, ...options })
      clients.push(dueq)
      return dueq
    },
    async [Symbol.asyncDispose]() {
      await Promise.all(clients.map((dueq) => dueq.close({ deadline: '1s' })))
      await Promise.all([primary.stop(), standby.stop()])
    },
  }
}

/** What became of an enqueue: created, or the code of its error. */
export const outcome = (enqueue: Promise<unknown>): Promise<string> =>
  enqueue.then(
    () => 'created',
    (error: unknown) => (isDueqError(error) ? error.code : Promise.reject(error)),
  )

/** The error of dueq that it must reject with. */
export const rejection = (promise: Promise<unknown>): Promise<DueqError> =>
  promise.then(
    () => Promise.reject(new Error('it was fulfilled')),
    (error: unknown) => (isDueqError(error) ? error : Promise.reject(error)),
  )
