// A NOTIFY loop and nothing else: what a message between two processes takes that PostgreSQL does not store. Only for the
// latency of an idle queue.
import postgres from 'postgres'
import floor from './floor.mjs'

/** @type {import('../contract.js').System} */
export default {
  ...floor,
  name: 'floor-signal',
  settings: 'pg_notify on one connection, LISTEN on another; nothing is stored',
  canJoinTransactions: false,
  tune: undefined,

  async producer({ url }) {
    const sql = postgres(url, { max: 1 })
    await sql`select 1`
    return {
      enqueue: (payload) => sql`select pg_notify('signal', ${JSON.stringify(payload)})`,
      enqueueMany: () => Promise.reject(new Error('stores nothing')),
      close: () => sql.end(),
    }
  },

  async consumer({ url }, onMessage) {
    const sql = postgres(url, { max: 1 })
    await sql.listen('signal', (text) => onMessage(JSON.parse(text)))
    return { close: () => sql.end() }
  },
}
