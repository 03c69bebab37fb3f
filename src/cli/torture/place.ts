/**
 * Where a torture run is: in a schema of its own, on a server of its own where no URL is given, or in a scratch queue of a
 * schema that was named.
 *
 * Invariant: no queue of the user is touched. What the run made is removed at its end; where it was killed, by the next
 * run of torture or bench (bench-leftovers.ts).
 */
import { openPool } from '../../pool.js'
import { lookAtSchema } from '../../schema.js'
import { statements as statementsOf } from '../../statements.js'
import { removeQueues, runName, sweepLeftovers } from '../bench-leftovers.js'
import { type Keeper, keepAlive } from '../bench-place.js'
import { dropRunSchema, lookAtServer, type ServerFacts } from '../bench-sql.js'
import { type EmbeddedServer, startEmbedded } from '../embedded.js'
import { databaseOf, openScratch, type Scratch, type ScratchPlace } from '../scratch.js'
import { openControl } from './sql.js'

export type TorturePlace = {
  /** For the processes of the run: where it is, and what to remove should this one die. */
  readonly place: ScratchPlace
  readonly queue: string
  /** The name of the run. */
  readonly run: string
  readonly server: ServerFacts
  /** Where the run started it. */
  readonly embedded: EmbeddedServer | undefined
  readonly description: string
  readonly swept: readonly string[]
  /** Removes all that the run made. Safe to call again. */
  close(): Promise<void>
}

export type TortureTarget = {
  readonly url: string | undefined
  /** A schema of dueq that is there, to make a scratch queue in. */
  readonly schema: string | undefined
}

/** Every process has a pool, transactions and a clock. */
const settings = { max_connections: '300' }

export async function openTorturePlace({ url, schema }: TortureTarget): Promise<TorturePlace> {
  const embedded = url === undefined ? await startEmbedded({ settings }) : undefined
  const base = url ?? embedded!.url
  let scratch: Scratch | undefined
  let keeper: Keeper | undefined
  let run = ''
  let closing: Promise<void> | undefined
  const control = openControl(base)
  const close = (): Promise<void> => {
    closing ??= (async () => {
      try {
        await keeper?.close()
        if (embedded || run === '') return
        if (schema !== undefined) await removeQueues(control.query, schema, run)
        else await dropRunSchema(control.query, run)
      } finally {
        await control.close()
        await scratch?.close()
        await embedded?.stop()
      }
    })()
    return closing
  }
  try {
    const server = await lookAtServer(base)
    const { epochSeconds } = server
    if (schema !== undefined) await mustBeThere(base, schema)
    const swept = embedded ? [] : await sweepLeftovers(control.query, { schema, epochSeconds })
    run = runName(epochSeconds, 'torture')
    if (schema === undefined) scratch = await openScratch('torture', { url: base, schema: run, isKept: true })
    const home = schema ?? run
    keeper = await keepAlive({ url: base, listenUrl: undefined, schema: home, prepare: !server.isPooled, run })
    const where = embedded
      ? `an embedded PostgreSQL ${server.version}`
      : `${databaseOf(base)}, PostgreSQL ${server.version}`
    return {
      place: { url: base, schema: home, isEmbedded: embedded !== undefined, isKept: schema !== undefined },
      queue: `${run}.load`,
      ...{ run, server, embedded, swept, close },
      description: `${where}, in ${schema ? `a scratch queue of schema ${schema}` : 'a schema made for it'}`,
    }
  } catch (error) {
    await close().catch(() => {}) // why it could not be opened says more
    throw error
  }
}

// --- internal ---

async function mustBeThere(url: string, schema: string): Promise<void> {
  const pool = openPool({ url, max: 1, prepare: false }, 30_000)
  try {
    const { error } = await lookAtSchema(pool.query, statementsOf(schema), schema)
    if (error) throw error
  } finally {
    await pool.close()
  }
}
