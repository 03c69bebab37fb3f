/**
 * What a run of `dueq bench` or `dueq torture` owns in a database, and how another run tells that its owner is dead.
 *
 *     <run>           a queue with one message: the run holds its lease for as long as it lives
 *     <run>.<name>    the queues that are measured
 *     <run>           a schema, for the bare tables; where there was no dueq, and of torture, for all of it
 *
 * with <run> = dueq_bench_<seconds since 1970, base 36>_<random>, or dueq_torture_…. A killed process does nothing, and its lease lapses
 * by itself: that works from any host and through any pooler, which a process id or a session lock does not.
 *
 * Invariant: nothing is removed whose owner may be alive, and nothing that has not such a name.
 */
import { randomBytes } from 'node:crypto'
import type { Query } from '../driver.js'
import { isDueqError } from '../errors.js'
import { statements as statementsOf } from '../statements.js'
import { dropRunSchema, runSchemas } from './bench-sql.js'

/** How long a run may be silent; its client extends the lease at a third of it. */
export const runLeaseMs = 15_000

const namePattern = /^dueq_(?:bench|torture)_([0-9a-z]{1,10})_[0-9a-f]{8}(?=\.|$)/
/** A run this young may not have its lease yet. */
const startingSeconds = 60
const purgeAtOnce = 10_000

/** A new name. The time in it is the server's. */
export function runName(epochSeconds: number, purpose: 'bench' | 'torture' = 'bench'): string {
  return `dueq_${purpose}_${epochSeconds.toString(36)}_${randomBytes(4).toString('hex')}`
}

/** Removes the queues of a run, its own last: as long as that is there, the others are found. */
export async function removeQueues(query: Query, schema: string, run: string): Promise<void> {
  const statements = statementsOf(schema)
  const queues = (await statements.settings(query)).map(({ queue }) => queue)
  for (const queue of queues
    .filter((name) => name === run || name.startsWith(`${run}.`))
    .sort()
    .reverse()) {
    while ((await statements.purge(query, queue, purgeAtOnce, true)) > 0);
    while ((await statements.purgeDead(query, queue, undefined, purgeAtOnce)) > 0);
    await statements.dropQueue(query, queue)
  }
}

/** Removes what dead runs left behind; gives their names. `schema` is that of dueq, where there is one. */
export async function sweepLeftovers(
  query: Query,
  { schema, epochSeconds }: { readonly schema: string | undefined; readonly epochSeconds: number },
): Promise<readonly string[]> {
  const hostOf = new Map<string, string>()
  for (const { name, comment } of await runSchemas(query, 'dueq_')) {
    if (namePattern.test(name)) hostOf.set(name, hostIn(comment) ?? name)
  }
  const schemas = new Set(hostOf.keys())
  for (const { queue } of schema === undefined ? [] : await statementsOf(schema).settings(query)) {
    const run = namePattern.exec(queue)?.[0]
    if (run && !hostOf.has(run)) hostOf.set(run, schema!)
  }
  const removed: string[] = []
  for (const [run, host] of hostOf) {
    if (!(await isAbandoned(query, host, run, epochSeconds))) continue
    try {
      if (host !== run) await removeQueues(query, host, run).catch(unlessMissing)
      if (schemas.has(run)) await dropRunSchema(query, run)
      removed.push(run)
    } catch {
      // Another run may be at it, or the role may not: whoever may does it the next time.
    }
  }
  return removed
}

/** The comment on the schema of a run whose queues are in another schema. */
export function runComment(host: string): string {
  return `A run of dueq bench, with queues in schema "${host}". The next run removes it where its owner is gone.`
}

// --- internal ---

function hostIn(comment: string | null): string | undefined {
  return /^A run of dueq bench, with queues in schema "([a-z_][a-z0-9_]{0,49})"/.exec(comment ?? '')?.[1]
}

async function isAbandoned(query: Query, host: string, run: string, epochSeconds: number): Promise<boolean> {
  const startedAt = Number.parseInt(namePattern.exec(run)![1]!, 36)
  try {
    const [stats] = await statementsOf(host).stats(query, run)
    if (stats && stats.leased > 0) return false
    if (stats && stats.lapsed > 0) return true
  } catch (error) {
    unlessMissing(error)
  }
  return epochSeconds - startedAt > startingSeconds
}

function unlessMissing(error: unknown): void {
  if (!isDueqError(error) || !['schema.missing', 'queue.unknown'].includes(error.code)) throw error
}
