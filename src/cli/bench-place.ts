/**
 * Where `dueq bench` runs: in the schema of dueq that is there, because that is what will be used, with its backlog, its
 * settings and its autovacuum; else in a schema that is made, migrated and dropped; without a URL on a server of its own.
 *
 * Invariants: only queues and a schema of the run's own name are written. However the run ends they are removed: here, or
 * where it was killed by the next run (bench-leftovers.ts).
 */
import { connect, type Dueq } from '../connect.js'
import { fromDatabase } from '../database-errors.js'
import { defineQueue } from '../definition.js'
import type { Query } from '../driver.js'
import { DueqError, isDueqError } from '../errors.js'
import { openPool } from '../pool.js'
import { lookAtSchema } from '../schema.js'
import { statements as statementsOf } from '../statements.js'
import { removeQueues, runComment, runLeaseMs, runName, sweepLeftovers } from './bench-leftovers.js'
import type { ServerFacts } from './bench-sql.js'
import { type BareStatements, bareStatements, createRunSchema, dropRunSchema, lookAtServer } from './bench-sql.js'
import { databaseOf, openScratch, type Scratch } from './scratch.js'

export type BenchTarget = {
  /** Without, an embedded server. */
  readonly url: string | undefined
  readonly listenUrl: string | undefined
  /** A schema that was named must be there; `dueq` need not. */
  readonly schema: string | undefined
}

/** What a client of the run needs, in this process or in another. */
export type BenchClient = {
  readonly url: string
  readonly listenUrl: string | undefined
  readonly schema: string
  readonly prepare: boolean
  /** The name of the run: of its own queue, and the beginning of those that are measured. */
  readonly run: string
  /** Whether the schema is the run's own. */
  readonly isScratch: boolean
  readonly isEmbedded: boolean
}

export type Keeper = { close(): Promise<void> }

export type BenchPlace = {
  readonly client: BenchClient
  readonly server: ServerFacts
  /** For people: where this is. */
  readonly description: string
  /** Undefined where the role may make no schema. */
  readonly bare: BareStatements | undefined
  /** Dead runs that were cleaned up. */
  readonly swept: readonly string[]
  /** Removes all that the run made. Safe to call again. */
  close(): Promise<void>
}

/** Deadline of each statement that makes or removes something: Ctrl-C is not to take for ever where the server hangs. */
const housekeepingMs = 15_000

/** Opens a place. Errors: `schema.older`, `schema.newer`, `schema.missing` where it was named, `database.*`. */
export async function openBenchPlace(target: BenchTarget): Promise<BenchPlace> {
  const { url, listenUrl } = target
  const server = url === undefined ? undefined : await lookAtServer(url)
  const schema = url === undefined ? undefined : await existingSchema(url, target.schema)
  const name = runName(server?.epochSeconds ?? Math.floor(Date.now() / 1000))
  const scratch = schema === undefined ? await openScratch('bench', { url, schema: name }) : undefined
  const base = scratch?.url ?? url!
  const pool = openPool({ url: base, max: 2, prepare: false }, housekeepingMs)
  const { query } = pool
  let keeper: Keeper | undefined
  let hasOwnSchema = false
  let closing: Promise<void> | undefined
  const close = (): Promise<void> => {
    closing ??= (async () => {
      try {
        await keeper?.close()
        if (schema !== undefined) await removeQueues(query, schema, name)
        if (hasOwnSchema) await dropRunSchema(query, name)
        if (url !== undefined) await sweepLeftovers(query, { schema, epochSeconds: server!.epochSeconds })
      } catch (error) {
        throw leftBehind(name, error)
      } finally {
        await pool.close()
        await scratch?.close()
      }
    })()
    return closing
  }
  try {
    const facts = server ?? (await lookAtServer(base))
    const swept = url === undefined ? [] : await sweepLeftovers(query, { schema, epochSeconds: facts.epochSeconds })
    const client: BenchClient = {
      url: base,
      listenUrl,
      schema: schema ?? name,
      prepare: !facts.isPooled,
      run: name,
      isScratch: scratch !== undefined,
      isEmbedded: url === undefined,
    }
    keeper = await keepAlive(client)
    hasOwnSchema = scratch === undefined && (await makeOwnSchema(query, name, client.schema))
    const bare = hasOwnSchema || scratch ? bareStatements(name) : undefined
    await bare?.create(query)
    return { client, server: facts, description: describePlace(client, scratch), bare, swept, close }
  } catch (error) {
    await close().catch(() => {}) // why it could not be opened says more
    throw error
  }
}

/** What a client of the run connects with, and the name of the run. */
export type RunClient = Pick<BenchClient, 'url' | 'listenUrl' | 'schema' | 'prepare' | 'run'>

/** A dueq client of the run, as an application would make it. */
export function connectTo(
  { url, listenUrl, schema, prepare }: RunClient,
  options: { readonly connections: number; readonly listen?: boolean; readonly onEvent?: () => void },
): Dueq {
  const { connections, listen = true, onEvent = () => {} } = options
  const direct = listenUrl === undefined ? {} : { listenUrl }
  return connect({ url, schema, prepare, max: connections, listen, onEvent, ...direct })
}

// --- internal ---

/** The schema of dueq to use; undefined where none is there and none was named. */
async function existingSchema(url: string, named: string | undefined): Promise<string | undefined> {
  const schema = named ?? 'dueq'
  const pool = openPool({ url, max: 1, prepare: false }, 30_000)
  try {
    const { error } = await lookAtSchema(pool.query, statementsOf(schema), schema)
    if (error) throw error
    return schema
  } catch (error) {
    if (named === undefined && isDueqError(error) && error.code === 'schema.missing') return undefined
    throw error
  } finally {
    await pool.close()
  }
}

/** Holds the lease of the run's own message until it is closed: whoever sweeps knows by it that the run lives. */
export async function keepAlive(client: RunClient): Promise<Keeper> {
  const dueq = connectTo(client, { connections: 1, listen: false })
  try {
    const queue = defineQueue(client.run, { lease: runLeaseMs })
    await dueq.ensure([queue])
    await dueq.queue(queue).enqueue({})
    let end: () => void = () => {}
    const over = new Promise<void>((resolve) => {
      end = resolve
    })
    await new Promise<void>((resolve, reject) => {
      const consumer = dueq.queue(queue).consume(
        () => {
          resolve()
          return over
        },
        { concurrency: 1 },
      )
      consumer.stopped.catch(reject)
    })
    return {
      async close() {
        end()
        await dueq.close({ deadline: '5s' })
      },
    }
  } catch (error) {
    await dueq.close({ deadline: '1s' })
    throw error
  }
}

function leftBehind(run: string, error: unknown): DueqError {
  const { code, message, details } = fromDatabase(error)
  const text = `${message} What this run made (${run}) could not be removed; the next run removes it.`
  return new DueqError(code, text, { cause: error, details })
}

/** False where the role may not. */
async function makeOwnSchema(query: Query, name: string, host: string): Promise<boolean> {
  try {
    await createRunSchema(query, name, runComment(host))
    return true
  } catch (error) {
    if (isDueqError(error) && error.code === 'database.permission') return false
    throw error
  }
}

function describePlace({ url, schema }: BenchClient, scratch: Scratch | undefined): string {
  if (scratch) return `${scratch.description}, in a schema made for it`
  return `${databaseOf(url)}, in scratch queues of schema ${schema}`
}
