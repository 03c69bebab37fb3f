// The session of a migrator: connected for as long as it may take, alone in its schema, and never in anybody's way for long.
//
// Invariant: whatever happens to this process or its network, what it holds in the database is free again within seconds.
import { Socket } from 'node:net'
import type { Client } from 'pg'
import { fromDatabase } from './database-errors.js'
import { DueqError } from './errors.js'

/** Runs something on a connection of its own, and closes it. At the deadline the connection is cut, whatever hangs in it. */
export async function inSession<T>(url: string, timeoutMs: number, run: (client: Client) => Promise<T>): Promise<T> {
  const { default: pg } = await import('pg')
  const socket = new Socket() // ours, because nothing else cuts a connection that says nothing
  const client = new pg.Client({
    connectionString: url,
    application_name: 'dueq migrate',
    connectionTimeoutMillis: connectWithinMs,
    stream: () => socket,
  })
  client.on('error', () => {}) // the statement under way rejects, and says more
  let late: DueqError | undefined
  let timer = setTimeout(() => {
    late = new DueqError(
      'timeout',
      `Not done within ${timeoutMs} ms, and given up. Run it again: what is applied by then is not applied twice. Give a longer \`timeout\` where a migration needs it.`,
      { isOutcomeUnknown: true },
    )
    socket.destroy()
  }, timeoutMs)
  try {
    await client.connect()
    return await run(client)
  } catch (error) {
    if (late) throw late
    const cause = fromDatabase(error)
    if (cause.code !== 'database.error' && cause.code !== 'option.invalid') throw cause
    const advice = adviceOfSqlState[String(cause.details['sqlState'])] ?? ''
    throw new DueqError('migration.failed', `Migrating failed, nothing was changed: ${cause.message}${advice}`, {
      cause: error,
    })
  } finally {
    clearTimeout(timer)
    timer = setTimeout(() => socket.destroy(), endWithinMs)
    await client.end().catch(() => {})
    clearTimeout(timer)
  }
}

/** One migrator at a time. The lock number is of the whole database, so it is made from the name of the schema. */
export async function lockSchema(client: Client, schema: string): Promise<void> {
  // A migrator that is stopped, or whose network is gone, between two statements would keep its locks, and everybody out.
  await client.query(`set idle_in_transaction_session_timeout = ${abandonedAfterMs}`)
  await client.query(`set lock_timeout = ${lockWithinMs}`)
  try {
    const text = 'select pg_catalog.pg_advisory_lock(pg_catalog.hashtextextended($1, 0))'
    await client.query(text, [`dueq:${schema}`])
  } catch (error) {
    if (fromDatabase(error).code !== 'lock.timeout') throw error
    throw new DueqError(
      'lock.timeout',
      `Another migration of schema "${schema}" has been under way for ${lockWithinMs} ms; nothing was changed. Wait for it, or end its session (pg_stat_activity, application_name 'dueq migrate').`,
      { cause: error },
    )
  }
}

/**
 * Runs migrations that may meet open transactions of others. Whoever waits for a table has all that come later waiting
 * behind it, enqueues and claims included: so it waits half a second at most, stands aside for one, and tries again. Half, because
 * whoever waits for us while we wait for them is told of a deadlock (40P01) after a second: we give up before.
 */
export async function standingAside<T>(client: Client, schema: string, run: () => Promise<T>): Promise<T> {
  await client.query(`set lock_timeout = '500ms'`)
  for (const until = performance.now() + lockWithinMs; ; ) {
    try {
      return await run()
    } catch (error) {
      if (!isInTheWay(error)) throw error
      if (performance.now() >= until)
        throw new DueqError(
          'lock.timeout',
          `Open transactions have held the tables of schema "${schema}" for ${lockWithinMs} ms; nothing was changed. End them (\`dueq doctor\` names those that are old) and migrate again.`,
          { cause: error },
        )
      await new Promise((resolve) => setTimeout(resolve, 1000))
    }
  }
}

// --- internal ---

const connectWithinMs = 10_000
const lockWithinMs = 60_000
const endWithinMs = 1_000
const abandonedAfterMs = 5_000

const dependent =
  '. A view or function of your own depends on that one, so it could not be dropped, and it has another form now. Drop your own, migrate, and create it again.'

/** "is not unique": another form beside the old one; "cannot change return type": another result. */
const adviceOfSqlState: Readonly<Record<string, string>> = {
  '42725': dependent,
  '42P13': dependent,
  '2BP01': dependent,
}

/**
 * Others were first: they hold a lock, wait for one of ours while we wait for theirs (a deadlock, which the server ends), or have
 * just changed the rights of a function ("tuple concurrently updated", XX000, which has no state of its own).
 */
function isInTheWay(error: unknown): boolean {
  const { code, message } = fromDatabase(error)
  return code === 'lock.timeout' || code === 'transaction.conflict' || /\btuple concurrently\b/.test(message)
}
