// Where the one connection that listens goes: to the database of the statements, past a pooler where one is named.
import postgres from 'postgres'
import { cutOff, sockets } from './cut-off.js'
import { isPg, isPostgresJs } from './driver.js'
import type { Source } from './pool.js'
import { followPrimary, followUrl, type Primary } from './primary.js'

/** Options for a postgres.js connection to the same database as a pool, or undefined where they cannot be known. */
export function listenSource(source: Source, listenUrl: string | undefined): ListenSource | undefined {
  if (listenUrl !== undefined) return followUrl(listenUrl)
  if ('url' in source) return { url: source.url, primary: source.primary }
  const { shared } = source
  if (isPostgresJs(shared) && shared.options) return fromPostgresJs(shared.options)
  if (isPg(shared) && shared.options) return fromPgOptions(shared.options)
  return undefined
}

/** A URL, or the options of the user's own driver. */
export type ListenSource = {
  readonly url?: string
  readonly options?: object
  /** Where there are several hosts. */
  readonly primary?: Primary | undefined
}

/** Opens the one connection that listens. Its owner ends it. */
export function openListener(source: ListenSource): postgres.Sql {
  const own = {
    max: 1,
    idle_timeout: 0,
    fetch_types: false,
    connect_timeout: 10,
    onnotice: () => {},
    connection: { application_name: 'dueq listen' },
    socket: sockets(
      source.primary?.opener(() => void cutOff(sql)) ??
        (source.options as { readonly socket?: never } | undefined)?.socket,
    ),
  }
  const options = { ...source.options, ...own } as postgres.Options<never>
  const sql = source.url === undefined ? postgres(options) : postgres(source.url, options)
  return sql
}

// --- internal ---

/** Of several hosts dueq listens on the primary, however the user's own driver finds its way. */
function fromPostgresJs(options: {
  readonly host?: readonly string[]
  readonly port?: readonly number[]
  readonly socket?: unknown
}): ListenSource {
  const { host = [], port = [], socket } = options
  if (host.length < 2 || socket) return { options }
  const hosts = host.map((name, at) => ({ host: name, port: port[at] ?? 5432 }))
  const first = { ...options, host: [hosts[0]!.host], port: [hosts[0]!.port], target_session_attrs: undefined }
  return { options: first, primary: followPrimary(hosts, { options: first }) }
}

/** The options of a `pg` pool in the words of postgres.js. */
function fromPgOptions(options: Readonly<Record<string, unknown>>): ListenSource {
  const { connectionString, host, port, user, password, database, ssl } = options
  const given = Object.entries({ host, port, user, password, database, ssl }).filter(([, value]) => value !== undefined)
  return {
    url: typeof connectionString === 'string' ? connectionString : undefined,
    options: Object.fromEntries(given),
  }
}
