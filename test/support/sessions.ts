/**
 * Single sessions for races: each one is one connection that the test holds, and `blocked` says when one waits.
 *
 * They use another driver than the library's own, and simple enough calls to see which statement waits for which.
 */
import { setTimeout as delay } from 'node:timers/promises'
import pg from 'pg'
import { inject } from 'vitest'

export type Session = {
  /** The server's process id of this session. */
  readonly pid: number
  query<Row extends pg.QueryResultRow = pg.QueryResultRow>(text: string, params?: readonly unknown[]): Promise<Row[]>
  begin(isolation?: 'read committed' | 'repeatable read' | 'serializable'): Promise<void>
  commit(): Promise<void>
  rollback(): Promise<void>
  /** Ends the session, a statement that still waits included. Safe to call again. */
  close(): Promise<void>
  [Symbol.asyncDispose](): Promise<void>
}

const blockedDeadlineMs = 20_000
const openSessions = new Set<Session>()
let observer: Promise<Session> | undefined

export async function openSession(url: string = inject('databaseUrl')): Promise<Session> {
  const client = new pg.Client({
    connectionString: url,
    application_name: 'dueq test',
    connectionTimeoutMillis: 10_000,
  })
  // A test that kills this session is told by its next query.
  client.on('error', () => {})
  await client.connect()
  const command = async (text: string) => {
    await client.query(text)
  }
  const { rows } = await client.query<{ pid: number }>('select pg_backend_pid() as pid')
  let closing: Promise<void> | undefined
  const close = () => {
    openSessions.delete(session)
    closing ??= client.end()
    return closing
  }
  const session: Session = {
    pid: rows[0]!.pid,
    query: async <Row extends pg.QueryResultRow>(text: string, params: readonly unknown[] = []) =>
      (await client.query<Row>(text, [...params])).rows,
    begin: (isolation = 'read committed') => command(`begin isolation level ${isolation}`),
    commit: () => command('commit'),
    rollback: () => command('rollback'),
    close,
    [Symbol.asyncDispose]: close,
  }
  openSessions.add(session)
  return session
}

/** Waits until the session waits for a lock, and returns the sessions that hold it up; fails after 20 s. */
export async function blocked(pid: number): Promise<readonly number[]> {
  observer ??= openSession()
  const { query } = await observer
  const deadline = Date.now() + blockedDeadlineMs
  for (;;) {
    const [row] = await query<{ state: string; query: string; blockers: number[]; isWaiting: boolean }>(
      `select state, query, pg_blocking_pids(pid) as blockers, wait_event_type is not distinct from 'Lock' as "isWaiting"
         from pg_stat_activity
        where pid = $1`,
      [pid],
    )
    if (row?.isWaiting && row.blockers.length > 0) return row.blockers
    if (Date.now() > deadline) {
      throw new Error(`Session ${pid} did not block within 20 s: ${row ? `${row.state}, ${row.query}` : 'it is gone'}`)
    }
    await delay(10)
  }
}

/** Closes every session that is still open, for `afterAll`. */
export async function closeSessions(): Promise<void> {
  observer = undefined
  await Promise.all([...openSessions].map((session) => session.close()))
}
