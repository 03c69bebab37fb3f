/**
 * The connections of dueq as the variant of the run wants them: over a URL or over a `pg` pool, through the pooler or not.
 *
 * A client of the variant takes the same options as `connect` and means the same: a `url` becomes a pool on that URL, which
 * the client owns and ends. A connection that is given (`sql`, `pool`, `query`) stays what it is. Tests about the
 * connections that dueq opens itself use `connectByUrl`, which is a URL under every driver: they pass in all of them, so
 * that the numbers of passed tests agree.
 */
import pg from 'pg'
import { inject, it } from 'vitest'
import { type ConnectOptions, connect, type Dueq } from '../../src/index.js'
import { variant } from '../support/variant.js'

/** A test that needs notifications to arrive: skipped where LISTEN goes through a pooler, which swallows them. */
export const itListens = it.skipIf(variant.isSilent)

/** Connects over the driver of the run, by default to where it sends the statements of dueq. `by`: of another dueq. */
export function connectVariant(options: ConnectOptions, by: Connect = connect): Dueq {
  return variant.driver === 'pg' && !isGiven(options) ? connectPool(options, by) : connectByUrl(options, by)
}

/** Connects by URL whatever the driver of the run is: dueq opens the connections itself. */
export function connectByUrl(options: ConnectOptions, by: Connect = connect): Dueq {
  return by(isGiven(options) ? options : { ...defaults(), ...options })
}

/** The environment in which `fixtures/connect.mjs` connects as clients of this schema do. */
export function processEnv(schema: string): Readonly<Record<string, string>> {
  const { url, listenUrl = '', prepare = true } = defaults()
  return {
    DUEQ_URL: url,
    DUEQ_LISTEN_URL: listenUrl,
    DUEQ_PREPARE: String(prepare),
    DUEQ_TEST_SCHEMA: schema,
    DUEQ_TEST_DRIVER: variant.driver,
  }
}

// --- internal ---

type Connect = (options: ConnectOptions) => Dueq

type Defaults = { readonly url: string; readonly listenUrl?: string; readonly prepare?: boolean }

function isGiven({ sql, pool, query }: ConnectOptions): boolean {
  return [sql, pool, query].some((one) => one !== undefined)
}

function defaults(): Defaults {
  const url = inject('dueqUrl')
  if (variant.pooler === undefined) return { url }
  return { url, prepare: false, ...(variant.isSilent ? {} : { listenUrl: inject('databaseUrl') }) }
}

function connectPool(options: ConnectOptions, by: Connect): Dueq {
  const { url, prepare: _, max = 4, ...rest } = { ...defaults(), ...options }
  const pool = new pg.Pool({ connectionString: url, max })
  // A pool tells here of idle connections that broke; without a listener that would end the process.
  pool.on('error', () => {})
  const dueq = by({ ...rest, pool })
  let ending: Promise<void> | undefined
  const close: Dueq['close'] = async (stop) => {
    const report = await dueq.close(stop)
    ending ??= pool.end()
    // A statement that hangs on a frozen network holds the pool's end up until the network is gone.
    await Promise.race([ending, new Promise((resolve) => setTimeout(resolve, 1_000).unref())])
    return report
  }
  return { ...dueq, close, [Symbol.asyncDispose]: async () => void (await close()) }
}
