// dueq with the defaults of the library: a pool of 4 connections, 10 handlers at once, whatever the scenario.
import { readFileSync } from 'node:fs'
import postgres from 'postgres'
import { connect, defineQueue, migrate } from '../../dist/esm/index.js'
import { timeStatements } from '../harness/driver-times.mjs'
import { monotonicMs } from '../harness/time.mjs'

/** One client for all consumers and producers of a process, as an application has it. */
const shared = new Map()

/** @type {import('../contract.js').System} */
export default {
  name: 'dueq',
  kind: 'own',
  version: () => JSON.parse(readFileSync(new URL('../../package.json', import.meta.url), 'utf8')).version,
  settings: 'library defaults: one client for each process, 4 connections, 10 handlers, poll interval 5 s',
  minNode: 20,
  needs: 'postgres',
  coalesces: true,
  canJoinTransactions: true,

  async setup({ url, queue, otherQueue }) {
    await migrate({ url })
    const dueq = connect(url)
    await dueq.ensure([defineQueue(queue), defineQueue(otherQueue)])
    await dueq.close()
    const sql = single(url)
    await sql`create table own_writes (id bigint generated always as identity primary key, at timestamptz default now())`
    await sql.end()
  },

  async producer({ url, queue }, { connections, isTransactional }) {
    if (isTransactional) return inTransactions(url, queue)
    // A client of its own has no other call that this one could be gathered with.
    const lease = connections === 1 ? own(connect(url, { max: 1 })) : lend(url)
    const handle = lease.dueq.queue(queue)
    await lease.dueq.check()
    return {
      enqueue: (payload, { delayMs } = {}) => handle.enqueue(payload, delayMs ? { delay: delayMs } : undefined),
      enqueueMany: (payloads, { delayMs } = {}) =>
        handle.enqueueMany(payloads.map((payload) => (delayMs ? { payload, delay: delayMs } : { payload }))),
      close: lease.close,
    }
  },

  async consumer({ url, queue }, onMessage, { concurrency, onClaim, queue: other = queue }) {
    if (onClaim) await timeStatements((text) => /\.poll\(/.test(text), onClaim)
    const { dueq, close } = lend(url)
    /** @type {import('../../dist/esm/index.js').QueueHandle<any, any>} */
    const handle = dueq.queue(other)
    const consumer = handle.consume(({ payload }) => onMessage(payload), { concurrency })
    while (consumer.status.lastClaimAt === null || !(await dueq.check()).isListening)
      await new Promise((resolve) => setTimeout(resolve, 5))
    return {
      async close() {
        await consumer.stop()
        await close()
      },
    }
  },

  async backlog({ url, queue }, { count, delayMs, payload }) {
    const sql = single(url)
    const chunk = 500_000
    const step = delayMs > 0 ? 1 : 0
    for (let from = 0; from < count; from += chunk)
      await sql`
        insert into dueq.messages (queue_id, ready_at, due_at, enqueued_at, payload)
        select q.id, t.due_at, t.due_at, n.at, ${JSON.stringify(payload)}::text::jsonb
          from dueq.queues q, (select clock_timestamp()) as n (at),
               generate_series(${from + 1}::integer, ${Math.min(from + chunk, count)}::integer) i,
               lateral (select n.at + (${delayMs}::float8 + i * ${step}::float8) * interval '1 ms') as t (due_at)
         where q.name = ${queue}`
    await sql.end()
  },

  async isEmpty({ url, queue }) {
    const sql = single(url)
    const [row] = await sql`
      select not exists (
        select from dueq.messages m
         where m.queue_id = (select id from dueq.queues where name = ${queue}) and m.priority = 0
           and m.ready_at < clock_timestamp() + interval '10 minutes') as is_empty`
    await sql.end()
    return row?.['is_empty']
  },

  async teardown() {},

  /** Takes `pg_notify` out of every function of the schema, or puts it back. */
  async silence({ url }, isSilent) {
    const sql = single(url)
    await sql`set search_path to dueq`
    await sql`create or replace function bench_notify(text, text) returns void language plpgsql as 'begin end'`
    const [from, to] = isSilent ? ['pg_notify(', 'bench_notify('] : ['bench_notify(', 'pg_notify(']
    const functions = await sql`
      select pg_get_functiondef(p.oid) as text from pg_proc p
       where p.pronamespace = 'dueq'::regnamespace and p.prokind = 'f'
         and (strpos(p.prosrc, ${from}) > 0 or strpos(p.prosrc, ${to}) > 0)`
    if (functions.length === 0) throw new Error('No function of dueq notifies.')
    for (const { text } of functions) await sql.unsafe(text.replaceAll(from, to))
    await sql.end()
  },

  async announce({ url, queue }) {
    const sql = single(url)
    const [column] = await sql`
      select 1 from information_schema.columns
       where table_schema = 'dueq' and table_name = 'queues' and column_name = 'sleepers_until'`
    // Before there was such a column every enqueue notified.
    if (column) await sql`update dueq.queues set sleepers_until = now() + interval '1 hour' where name = ${queue}`
    await sql.end()
  },
}

// --- internal ---

/** @param {string} url */
function single(url) {
  return postgres(url, { max: 1, onnotice: () => {} })
}

/** @param {import('../../dist/esm/index.js').Dueq} dueq */
function own(dueq) {
  return {
    dueq,
    close: async () => {
      await dueq.close()
    },
  }
}

/** @param {string} url */
function lend(url) {
  const entry = shared.get(url) ?? { dueq: connect(url), users: 0 }
  shared.set(url, entry)
  entry.users++
  return {
    dueq: entry.dueq,
    async close() {
      if (--entry.users > 0) return
      shared.delete(url)
      await entry.dueq.close()
    },
  }
}

/** @param {string} url @param {string} queue */
async function inTransactions(url, queue) {
  const sql = single(url)
  const dueq = connect({ sql })
  await sql`select 1`
  /** @param {import('../contract.js').Payload} payload @param {number} waitMs */
  const enqueue = async (payload, waitMs) => {
    await sql.begin(async (tx) => {
      await tx`insert into own_writes default values`
      await dueq.in(tx).queue(queue).enqueue(payload)
      if (waitMs > 0) await new Promise((resolve) => setTimeout(resolve, waitMs))
    })
    return monotonicMs()
  }
  return {
    /** @param {import('../contract.js').Payload} payload */
    enqueue: (payload) => enqueue(payload, 0),
    enqueueMany: () => Promise.reject(new Error('not in transactions')),
    enqueueAndCommitLater: enqueue,
    async close() {
      await dueq.close()
      await sql.end()
    },
  }
}
