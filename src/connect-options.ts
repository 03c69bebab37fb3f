// What `connect` takes, and the one source of connections that it comes to.
import { type PgQueryable, type PostgresJs, type QueryFunction, queryOf } from './driver.js'
import { DueqError } from './errors.js'
import type { DueqEvent } from './events.js'
import { type Duration, describe, knownOptions, readable, wholeNumber } from './options.js'
import type { Source } from './pool.js'
import { followUrl } from './primary.js'

export type ConnectOptions = {
  /** Connection URL; of several hosts (`postgres://h1:5432,h2:5433/db`) the primary is followed. @default `DUEQ_DATABASE_URL`, then `DATABASE_URL` */
  readonly url?: string
  /** Your postgres.js instance, shared; dueq never ends it. */
  readonly sql?: PostgresJs
  /** Your `pg` pool, shared; dueq never ends it. */
  readonly pool?: PgQueryable
  /** Any other driver: `(text, params) => rows`. Without `listenUrl` dueq then polls. */
  readonly query?: QueryFunction
  /** Schema of dueq. @default `DUEQ_SCHEMA`, then `'dueq'` */
  readonly schema?: string
  /** A direct connection for LISTEN, where `url` goes through a pooler in transaction mode. @default `DUEQ_LISTEN_URL`, then `url` */
  readonly listenUrl?: string
  /** Whether to listen for notifications at all; without, consumers poll. @default true */
  readonly listen?: boolean
  /** Whether to use prepared statements; false behind a pooler that cannot. Only for `url`. @default true */
  readonly prepare?: boolean
  /** Whether `enqueue` calls made while a statement of their queue is in flight share the next one. @default true */
  readonly coalesce?: boolean
  /** Connections of the pool that dueq opens for `url`, 1 to 100. @default 4 */
  readonly max?: number
  /** Deadline of each statement, 100ms to 1h. @default 30s */
  readonly timeout?: Duration
  /** The name under which leases are held. @default host:pid:random */
  readonly name?: string
  /** Hears everything that happens. Without it, what is worth a warning goes to `process.emitWarning`, once an hour. */
  readonly onEvent?: (event: DueqEvent) => void
}

/** What `connect` was given, as options. Raises `connection.invalid`, `option.unknown`, `option.invalid`. */
export function givenOptions(target: unknown, options: ConnectOptions): ConnectOptions {
  if (target !== undefined && typeof target !== 'string' && (typeof target !== 'object' || target === null))
    throw new DueqError(
      'connection.invalid',
      `Expected \`connect\` to get a URL or options, got ${describe(target)}. A postgres.js instance goes in as \`connect({ sql })\`.`,
    )
  const given: ConnectOptions = readable('the options of `connect`', () =>
    typeof target === 'string' ? { ...options, url: target } : { ...target, ...options },
  )
  knownOptions('connect', given, Object.keys(typeOf))
  for (const [name, type] of Object.entries(typeOf)) {
    const value = given[name as keyof ConnectOptions]
    if (value !== undefined && type !== undefined && typeof value !== type)
      throw new DueqError(
        'option.invalid',
        `Expected \`${name}\` of \`connect\` to be a ${type}, got ${describe(value)}.`,
        {
          details: { option: name },
        },
      )
  }
  return given
}

/** The source that the options name. Raises `connection.invalid`. */
export function sourceOf(given: ConnectOptions): Source {
  const { url, sql, pool, query } = given
  if ([url, sql, pool, query].filter((one) => one !== undefined).length > 1)
    throw new DueqError('connection.invalid', 'Give `connect` one of `url`, `sql`, `pool` and `query`.')
  const shared = sql ?? pool ?? query
  if (shared !== undefined) {
    queryOf(shared) // refuses what is no connection
    return { shared }
  }
  const max = wholeNumber('max', given.max ?? 4, 1, 100)
  return { ...followUrl(url), max, prepare: given.prepare ?? true }
}

// --- internal ---

/** Every option, with its type where nothing else checks it. */
const typeOf: Readonly<Record<keyof ConnectOptions, string | undefined>> = {
  url: undefined,
  sql: undefined,
  pool: undefined,
  query: undefined,
  schema: undefined,
  listenUrl: 'string',
  listen: 'boolean',
  prepare: 'boolean',
  coalesce: 'boolean',
  max: undefined,
  timeout: undefined,
  name: 'string',
  onEvent: 'function',
}
