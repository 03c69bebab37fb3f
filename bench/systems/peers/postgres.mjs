// What the adapters of PostgreSQL peers do with node-postgres, the driver of all three: pools, fillings, transactions of the
// caller, and the time that claims take.
import pg from 'pg'

/** Where a caller's transaction writes a row of its own. */
export const ownWrites =
  'create table own_writes (id bigint generated always as identity primary key, at timestamptz default now())'

/**
 * Calls back with the duration of each statement of this process that is asked for, from when it goes to a connection
 * until its answer is read.
 * @param {(text: string) => boolean} isWanted
 * @param {(ms: number) => void} onTime
 */
export function timeStatements(isWanted, onTime) {
  /** @type {{ query: (...args: any[]) => any }} */
  const prototype = pg.Client.prototype
  const { query } = prototype
  prototype.query = function (...args) {
    const text = typeof args[0] === 'string' ? args[0] : args[0]?.text
    if (typeof text !== 'string' || !isWanted(text)) return query.apply(this, args)
    const start = performance.now()
    const note = () => onTime(performance.now() - start)
    // A pool passes a callback; clients are awaited.
    const callback = args.findLastIndex((arg) => typeof arg === 'function')
    if (callback < 0) return query.apply(this, args).finally(note)
    const done = args[callback]
    args[callback] = (/** @type {unknown[]} */ ...answer) => {
      note()
      return done(...answer)
    }
    return query.apply(this, args)
  }
}

/**
 * A pool that is connected as often as it may be.
 * @param {string} url @param {number} max @param {import('pg').PoolConfig} [config]
 */
export async function openPool(url, max, config = {}) {
  const pool = new pg.Pool({ connectionString: url, max, ...config })
  pool.on('error', () => {})
  pool.on('connect', (client) => client.on('error', () => {}))
  const clients = await Promise.all(Array.from({ length: max }, () => pool.connect()))
  for (const client of clients) client.release()
  return pool
}

/**
 * Runs one statement on a connection of its own.
 * @param {string} url @param {string} text @param {unknown[]} [values]
 */
export async function once(url, text, values) {
  const client = new pg.Client(url)
  await client.connect()
  try {
    return (await client.query(text, values)).rows
  } finally {
    await client.end()
  }
}

/**
 * Runs one statement for each piece of a filling, so that none becomes a transaction of hours: $1 and $2 are the first and
 * the last number, $3 the delay, $4 the step from message to message (both in ms), $5 the payload as JSON.
 * @param {string} url
 * @param {{ count: number, delayMs: number, payload: import('../../contract.js').Payload }} filling
 * @param {string} text
 */
export async function fill(url, { count, delayMs, payload }, text) {
  const piece = 500_000
  for (let from = 0; from < count; from += piece)
    await once(url, text, [
      from + 1,
      Math.min(from + piece, count),
      delayMs,
      Math.sign(delayMs),
      JSON.stringify(payload),
    ])
}

/**
 * Producers that enqueue in a transaction of the caller, beside a row of its own.
 * @param {string} url @param {number} connections
 * @param {(client: import('pg').PoolClient, payload: import('../../contract.js').Payload) => Promise<unknown>} enqueue
 * @param {() => number} clock
 */
export async function inTransactions(url, connections, enqueue, clock) {
  const pool = await openPool(url, connections)
  /** @param {import('../../contract.js').Payload} payload @param {number} waitMs */
  const commitLater = async (payload, waitMs) => {
    const client = await pool.connect()
    try {
      await client.query('begin')
      await client.query('insert into own_writes default values')
      await enqueue(client, payload)
      if (waitMs > 0) await new Promise((resolve) => setTimeout(resolve, waitMs))
      await client.query('commit')
    } finally {
      client.release()
    }
    return clock()
  }
  return {
    /** @param {import('../../contract.js').Payload} payload */
    enqueue: (payload) => commitLater(payload, 0),
    enqueueMany: () => Promise.reject(new Error('not in transactions')),
    enqueueAndCommitLater: commitLater,
    close: () => pool.end(),
  }
}
