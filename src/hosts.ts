// The hosts of a connection URL, as libpq reads them: `h1:5432,h2:5433`, each with a port of its own.
import { DueqError } from './errors.js'
import { databaseUrl } from './options.js'

/** One server that may be the primary. */
export type Host = { readonly host: string; readonly port: number }

/** A URL for the driver, with one host, and all hosts that it had. */
export type Hosts = {
  readonly url: string
  readonly hosts: readonly Host[]
  /** The URL with this host. */
  urlOf(host: Host): string
}

/**
 * Takes a URL apart. `target_session_attrs` is taken out: the driver would try hosts by it without an end, and dueq works on
 * a primary whatever it says. Raises `connection.invalid`, also where it asks for a server that takes no writes.
 */
export function hostsOf(given: unknown): Hosts {
  const text = databaseUrl(given)
  const [, scheme, authority, rest] = /^(\w+:\/\/)([^/?#]*)(.*)$/s.exec(text)!
  const at = authority!.lastIndexOf('@') + 1
  const hosts = authority!.slice(at).split(',').map(hostOf)
  const end = withoutTarget(rest!)
  const withHost = (host: string): string => `${scheme}${authority!.slice(0, at)}${host}${end}`
  return {
    url: withHost(authority!.slice(at).split(',')[0]!),
    hosts: hosts.includes(undefined) ? [] : (hosts as Host[]),
    urlOf: ({ host, port }) => withHost(`${host.includes(':') ? `[${host}]` : host}:${port}`),
  }
}

// --- internal ---

const writableTargets = ['any', 'read-write', 'primary']

/** Undefined where the driver knows better: a host from the environment. */
function hostOf(text: string): Host | undefined {
  const match = /^(\[[\da-f:.]+\]|[^:[\]]+)(?::(\d*))?$/i.exec(text)
  if (!match) return undefined
  const port = Number(match[2] || process.env['PGPORT'] || 5432)
  return { host: decodeURIComponent(match[1]!).replace(/^\[|\]$/g, ''), port }
}

function withoutTarget(rest: string): string {
  const query = rest.indexOf('?')
  if (query < 0) return rest
  const kept = rest
    .slice(query + 1)
    .split('&')
    .filter((pair) => {
      const [name, value] = pair.split('=')
      if (name !== 'target_session_attrs') return true
      if (writableTargets.includes(value!)) return false
      throw new DueqError(
        'connection.invalid',
        `dueq needs a server that takes writes: expected \`target_session_attrs\` of the URL to be primary, read-write or any, got \`${value}\`.`,
      )
    })
  return kept.length > 0 ? `${rest.slice(0, query)}?${kept.join('&')}` : rest.slice(0, query)
}
