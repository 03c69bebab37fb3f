/**
 * Somewhere to run a demonstration or a measurement, gone afterwards: an embedded server, or a schema of its own in a
 * database that was given.
 *
 * Invariant: nothing outlives the run. Its owner closes it; where the owner is killed, `removeAbandoned` does the same
 * from any process that notices.
 */
import { randomBytes } from 'node:crypto'
import { setTimeout as delay } from 'node:timers/promises'
import postgres from 'postgres'
import type { Query } from '../driver.js'
import { migrate } from '../migrate.js'
import { openPool } from '../pool.js'
import { type Statements, statements } from '../statements.js'
import { startEmbedded } from './embedded.js'
import { sweepOrphans } from './embedded-scratch.js'
import { serverUser, temporaryBase } from './embedded-user.js'

/** What another process needs to use the place, and to remove it. */
export type ScratchPlace = {
  readonly url: string
  readonly schema: string
  readonly isEmbedded: boolean
  /** Whether it is to stay when the run is over. */
  readonly isKept: boolean
}

export type Scratch = ScratchPlace & {
  /** For people: where this is, without the password. */
  readonly description: string
  readonly query: Query
  readonly statements: Statements
  /** Removes it (unless it is kept). Safe to call again. */
  close(): Promise<void>
}

/**
 * Makes a migrated schema named `dueq_<purpose>_<random>` (or as given), on an embedded server where no URL is given.
 * Errors: those of `startEmbedded` and `migrate`.
 */
export async function openScratch(
  purpose: string,
  {
    url,
    schema = `dueq_${purpose}_${randomBytes(4).toString('hex')}`,
    isKept = false,
  }: { readonly url?: string | undefined; readonly schema?: string; readonly isKept?: boolean } = {},
): Promise<Scratch> {
  const server = url === undefined ? await startEmbedded() : undefined
  const place: ScratchPlace = {
    url: url ?? server!.url,
    schema,
    isEmbedded: server !== undefined,
    isKept: isKept && server === undefined,
  }
  const pool = openPool({ url: place.url, max: 4, prepare: true }, 30_000)
  let closing: Promise<void> | undefined
  const close = (): Promise<void> => {
    closing ??= (async () => {
      await pool.close()
      if (server) await server.stop()
      else if (!place.isKept) await dropSchema(place)
    })()
    return closing
  }
  try {
    await migrate({ url: place.url, schema: place.schema })
  } catch (error) {
    await close().catch(() => {}) // why it could not be made says more
    throw error
  }
  return {
    ...place,
    description: server ? 'an embedded PostgreSQL' : databaseOf(place.url),
    query: pool.query,
    statements: statements(place.schema),
    close,
  }
}

/** Removes the place of an owner that was killed. Several processes may do so at once. */
export async function removeAbandoned(place: ScratchPlace): Promise<void> {
  // A dying process closes its pipes a moment before it counts as dead.
  await delay(300)
  if (place.isEmbedded) await sweepOrphans(temporaryBase(serverUser()))
  else if (!place.isKept) {
    // What the owner had under way, or another process that removes it, can be in the way of the first attempt.
    for (let attempt = 1; attempt <= 5; attempt++) {
      const isDropped = await dropSchema(place).then(
        () => true,
        () => false,
      )
      if (isDropped) return
      await delay(Math.random() * 500)
    }
  }
}

/** Host and database of a URL, for people: no user, no password. */
export function databaseOf(url: string): string {
  const { host, pathname } = new URL(url.replace(/^\w+:/, 'http:').replace(/,[^/@]*(?=\/|$)/, ''))
  return `${host}${pathname}`
}

// --- internal ---

async function dropSchema({ url, schema }: ScratchPlace): Promise<void> {
  const sql = postgres(url, { max: 1, connect_timeout: 10, onnotice: () => {} })
  try {
    await sql`drop schema if exists ${sql(schema)} cascade`
  } finally {
    await sql.end({ timeout: 5 })
  }
}
