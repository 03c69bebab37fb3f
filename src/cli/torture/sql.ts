/**
 * The SQL of `dueq torture`: what it does to its own sessions, and a clock that is not the engine's own.
 */
import type { Query } from '../../driver.js'
import { openPool, type Pool } from '../../pool.js'

/** Statements to the server itself, past everything that a fault can touch. */
export function openControl(url: string): Pool {
  return openPool({ url, max: 2, prepare: false }, 3000)
}

/** The time of the server, in microseconds since 1970: not by the function that the engine asks. */
export async function serverMicros(query: Query): Promise<number> {
  const [row] = await query(`select (extract(epoch from clock_timestamp()) * 1000000)::bigint::text`, [])
  return Number(row![0])
}

/** Ends the sessions of one process of the run, known by the name that it gave; answers how many. */
export async function endSessions(query: Query, application: string): Promise<number> {
  const text = `select pg_terminate_backend(a.pid)::text from pg_stat_activity a where a.application_name = $1::text and a.usename = current_user and a.pid <> pg_backend_pid()`
  return (await query(text, [application])).filter(([isEnded]) => isEnded === 'true').length
}

/** The number of the next transaction: the difference of two says how many began in between. */
export async function nextTransaction(query: Query): Promise<number> {
  const [row] = await query(`select pg_snapshot_xmax(pg_current_snapshot())::text`, [])
  return Number(row![0])
}

/** Begins a transaction whose snapshot stays; the server ends it by itself where nobody else does. */
export const holdSnapshot = [
  `set idle_in_transaction_session_timeout = '20s'`,
  `begin isolation level repeatable read read only`,
  `select 1`,
] as const
