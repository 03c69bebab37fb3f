// The floor: a table with dueq's columns and indexes (its own first migration), and bare SQL on it. It validates nothing,
// retries nothing, keeps no lease alive and has no dead letters, so what it costs is what nothing can go below with the
// same storage.
//
// Nothing is gathered: each single enqueue is a statement. Batch and connections are the best of {100, 500, 1000} and
// {1, 2, 4}, found by `tune`, for 1 and for 4 processes by themselves.
import { readFileSync } from 'node:fs'
import postgres from 'postgres'
import { monotonicMs } from '../../harness/time.mjs'
import { createLoop } from './loop.mjs'

/** Plans that stay as they are: the choice of another one is no cost of the work. */
const planner = { enable_seqscan: 'off', enable_bitmapscan: 'off' }
const columns = 'queue_id, ready_at, due_at, enqueued_at, payload'

/** @typedef {{ batch: number, connections: number }} Tuned */

/**
 * @param {{ name: string, notifies: boolean, settings: string }} options
 * @returns {import('../../contract.js').System}
 */
export function createFloor({ name, notifies, settings }) {
  const signal = notifies ? `, pg_notify('floor', $1::text)` : ''
  const insert = `insert into messages (${columns}) values ($1::text::integer, now() + $3::text::interval, now() + $3::text::interval, now(), $2::text::jsonb) returning id${signal}`
  const insertMany = `with inserted as (
    insert into messages (${columns})
    select $1::text::integer, now() + $3::text::interval, now() + $3::text::interval, now(), payload from unnest($2::text::jsonb[]) payload returning id
  ) select array_agg(id)::text from inserted${notifies ? `, pg_notify('floor', $1::text)` : ''}`

  return {
    name,
    kind: 'floor',
    version: () => `postgres.js ${driverVersion()}`,
    settings,
    minNode: 20,
    needs: 'postgres',
    coalesces: false,
    canJoinTransactions: true,

    async setup({ url }) {
      const sql = open(url, 1)
      await sql.unsafe(readFileSync(new URL('../../../migrations/0001_tables.sql', import.meta.url), 'utf8')).simple()
      await sql`create table own_writes (id bigint generated always as identity primary key, at timestamptz default now())`
      await sql.end()
    },

    async producer({ url, queue }, { connections, callers, isTransactional }) {
      const sql = open(url, connections ?? Math.min(callers, 32))
      await sql`select 1`
      /** @param {number} [delayMs] */
      const delay = (delayMs = 0) => `${delayMs} ms`
      /** @param {import('../../contract.js').Payload} payload @param {number} waitMs */
      const inTransaction = async (payload, waitMs) => {
        await sql.begin(async (tx) => {
          await tx`insert into own_writes default values`
          await tx.unsafe(insert, [queueId(queue), JSON.stringify(payload), delay()], { prepare: true })
          if (waitMs > 0) await new Promise((resolve) => setTimeout(resolve, waitMs))
        })
        return monotonicMs()
      }
      return {
        enqueue: isTransactional
          ? (payload) => inTransaction(payload, 0)
          : (payload, { delayMs } = {}) =>
              sql.unsafe(insert, [queueId(queue), JSON.stringify(payload), delay(delayMs)], { prepare: true }),
        enqueueMany: (payloads, { delayMs } = {}) =>
          sql.unsafe(insertMany, [queueId(queue), arrayOf(payloads), delay(delayMs)], { prepare: true }),
        enqueueAndCommitLater: inTransaction,
        close: () => sql.end(),
      }
    },

    async consumer(context, onMessage, { batch, processes = 1, onClaim, queue = context.queue }) {
      const { one, many } = /** @type {{ one?: Tuned, many?: Tuned }} */ (context.tuned ?? {})
      const { batch: best, connections } = (processes > 1 ? many : one) ?? { batch: 500, connections: 2 }
      const sql = open(context.url, connections)
      const loop = createLoop({
        sql,
        queueId: queueId(queue),
        onMessage,
        onClaim,
        batch: batch ?? best,
        connections,
        notifies,
      })
      const listener = notifies ? open(context.url, 1) : undefined
      await listener?.listen('floor', (id) => id === queueId(queue) && loop.wake())
      await loop.ready
      return {
        async close() {
          await loop.stop()
          await Promise.all([sql.end(), listener?.end()])
        },
      }
    },

    async backlog({ url, queue }, { count, delayMs, payload }) {
      const sql = open(url, 1)
      const step = delayMs > 0 ? 1 : 0
      for (let from = 0; from < count; from += 500_000)
        await sql.unsafe(
          `insert into messages (${columns})
           select ${queueId(queue)}, now() + (${delayMs} + i * ${step}) * interval '1 ms', now() + (${delayMs} + i * ${step}) * interval '1 ms', now(), $1::text::jsonb
             from generate_series(${from + 1}, ${Math.min(from + 500_000, count)}) i`,
          [JSON.stringify(payload)],
        )
      await sql.end()
    },

    async isEmpty({ url, queue }) {
      const sql = open(url, 1)
      const rows = await sql.unsafe(
        `select 1 from messages where queue_id = ${queueId(queue)} and priority = 0 and ready_at < now() + interval '10 minutes' limit 1`,
      )
      await sql.end()
      return rows.length === 0
    },

    async teardown() {},

    /** Its inserts notify always, or never. */
    async announce() {},

    tune,
    describeTuned,
  }
}

// --- internal ---

/** @type {NonNullable<import('../../contract.js').System['tune']>} */
async function tune(drain) {
  /** @param {number} processes */
  const best = async (processes) => {
    const found = []
    for (const batch of [100, 500, 1000])
      for (const connections of [1, 2, 4]) {
        const tuned = { batch, connections }
        found.push({ tuned, rate: await drain({ one: tuned, many: tuned }, processes) })
      }
    return found.toSorted((a, b) => b.rate - a.rate)[0]?.tuned
  }
  return { one: await best(1), many: await best(4) }
}

/** @param {unknown} tuned */
function describeTuned(tuned) {
  const { one, many } = /** @type {{ one: Tuned, many: Tuned }} */ (tuned)
  /** @param {Tuned} best */
  const text = ({ batch, connections }) => `batches of ${batch} on ${connections} connection(s)`
  return `drains with ${text(one)}; with 4 processes ${text(many)} each`
}

/** The floor has no table of queues: the number stands for the name. @param {string} queue */
function queueId(queue) {
  return queue.endsWith('other') ? '2' : '1'
}

/** @param {string} url @param {number} max */
function open(url, max) {
  return postgres(url, { max, onnotice: () => {}, connection: planner })
}

/** @param {readonly unknown[]} payloads */
function arrayOf(payloads) {
  return `{${payloads.map((payload) => `"${JSON.stringify(payload).replace(/["\\]/g, '\\$&')}"`).join(',')}}`
}

function driverVersion() {
  const path = new URL('../package.json', import.meta.resolve('postgres'))
  return JSON.parse(readFileSync(path, 'utf8')).version
}
