// One connection that listens, from its opening to its end: it is never reconnected behind the back of whoever opened it.
//
// The driver's own `listen` opens the connection again by itself, gives up in silence where that fails, and cannot be asked
// whether it is still there. So this is a plain connection that says LISTEN, and says it again to be asked.
import type postgres from 'postgres'
import { cutOff } from './cut-off.js'
import { queryOf } from './driver.js'
import { DueqError } from './errors.js'
import { type ListenSource, openListener } from './listen-source.js'
import type { Statements } from './statements.js'

/** A connection that listens. */
export type Listener = {
  /** Says LISTEN for all channels. It changes nothing where that was said before: the answer shows that the connection is there. */
  listen(): Promise<void>
  /** Notifies on the connection itself: where that arrives, the connection is there and hears. */
  notify(channel: string, payload: string): Promise<void>
  /** Aborts when the connection is closed, by the other side or by `end`. */
  readonly closed: AbortSignal
  end(): void
}

/** Opens a connection for these channels; connects at the first `listen`. */
export function createListener(
  source: ListenSource,
  statements: Statements,
  channels: ReadonlyMap<string, (payload: string) => void>,
): Listener {
  const closing = new AbortController()
  const close = (): void =>
    closing.abort(new DueqError('database.unreachable', 'The connection was closed by the server or by the network.'))
  const own = {
    max_lifetime: null,
    onclose: () => setImmediate(close), // why a statement failed is said first
    onnotify: (channel: string, payload: string) => channels.get(channel)?.(payload),
  }
  const sql: postgres.Sql = openListener({ ...source, options: { ...source.options, ...own } })
  const query = queryOf(sql)
  return {
    async listen() {
      await statements.listen(query, [...channels.keys()])
    },
    async notify(channel, payload) {
      await statements.heartbeat(query, channel, payload)
    },
    closed: closing.signal,
    end() {
      close()
      void cutOff(sql)
    },
  }
}
