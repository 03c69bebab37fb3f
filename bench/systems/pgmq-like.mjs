// A queue in the style of PGMQ, as plain SQL functions of ours: a table of five columns for each queue, an index on the
// visibility time, send, send_batch, read and delete. No notifications: its consumer polls, every 100 ms as PGMQ's own
// `read_with_poll` does by default.
import postgres from 'postgres'
import { timeStatements } from '../harness/driver-times.mjs'

const pollMs = 100
const batchSize = 500
const visibleAgainSeconds = 30

/** @type {import('../contract.js').System} */
export default {
  name: 'pgmq-like',
  kind: 'peer',
  version: () => 'our own SQL',
  settings: `functions in the style of PGMQ through postgres.js; reads ${batchSize} at a time, deletes them by one array; polls every ${pollMs} ms when empty`,
  minNode: 20,
  needs: 'postgres',
  coalesces: false,
  canJoinTransactions: false,

  async setup({ url, queue, otherQueue }) {
    const sql = open(url, 1)
    for (const name of [queue, otherQueue]) await sql.unsafe(definition(name)).simple()
    await sql.end()
  },

  async producer({ url, queue }, { connections, callers }) {
    const sql = open(url, connections ?? Math.min(callers, 32))
    await sql`select 1`
    const send = `select ${queue}_send($1::text::jsonb, $2::text::interval)::text`
    const sendBatch = `select msg_id::text from ${queue}_send_batch($1::text::jsonb[], $2::text::interval) as msg_id`
    return {
      enqueue: (payload, { delayMs = 0 } = {}) =>
        sql.unsafe(send, [JSON.stringify(payload), `${delayMs} ms`], { prepare: true }),
      enqueueMany: (payloads, { delayMs = 0 } = {}) =>
        sql.unsafe(sendBatch, [arrayOf(payloads), `${delayMs} ms`], { prepare: true }),
      close: () => sql.end(),
    }
  },

  async consumer(context, onMessage, { batch = batchSize, onClaim, queue = context.queue }) {
    if (onClaim) await timeStatements((text) => text.includes('_read('), onClaim)
    const sql = open(context.url, 1)
    const read = `select msg_id::text, message::text from ${queue}_read($1::text::integer, ${visibleAgainSeconds})`
    const remove = `select ${queue}_delete($1::text::bigint[])`
    const stopping = new AbortController()
    const loop = async () => {
      while (!stopping.signal.aborted) {
        const rows = await sql.unsafe(read, [String(batch)], { prepare: true }).values()
        for (const row of rows) onMessage(JSON.parse(row[1]))
        if (rows.length > 0) await sql.unsafe(remove, [`{${rows.map((row) => row[0]).join(',')}}`], { prepare: true })
        else await pauseUnless(stopping.signal)
      }
    }
    await sql`select 1`
    const running = loop()
    return {
      async close() {
        stopping.abort()
        await running
        await sql.end()
      },
    }
  },

  async backlog({ url, queue }, { count, delayMs, payload }) {
    const sql = open(url, 1)
    const step = delayMs > 0 ? 1 : 0
    for (let from = 0; from < count; from += 500_000)
      await sql.unsafe(
        `insert into ${queue} (vt, message)
         select clock_timestamp() + (${delayMs} + i * ${step}) * interval '1 ms', $1::text::jsonb
           from generate_series(${from + 1}, ${Math.min(from + 500_000, count)}) i`,
        [JSON.stringify(payload)],
      )
    await sql.end()
  },

  async isEmpty({ url, queue }) {
    const sql = open(url, 1)
    const rows = await sql.unsafe(`select 1 from ${queue} where vt < clock_timestamp() + interval '10 minutes' limit 1`)
    await sql.end()
    return rows.length === 0
  },

  async teardown() {},
}

// --- internal ---

/** @param {string} queue */
function definition(queue) {
  return `
    create table ${queue} (
      msg_id      bigint generated always as identity primary key,
      read_ct     integer not null default 0,
      enqueued_at timestamptz not null default now(),
      vt          timestamptz not null,
      message     jsonb
    );
    create index on ${queue} (vt);

    create function ${queue}_send(message jsonb, delay interval) returns bigint language plpgsql as $$
    declare
      v_id bigint;
    begin
      insert into ${queue} (vt, message) values (clock_timestamp() + delay, send.message) returning msg_id into v_id;
      return v_id;
    end $$;

    create function ${queue}_send_batch(messages jsonb[], delay interval) returns setof bigint language plpgsql as $$
    begin
      return query
        insert into ${queue} (vt, message) select clock_timestamp() + delay, m from unnest(messages) m returning msg_id;
    end $$;

    create function ${queue}_read(quantity integer, seconds integer) returns setof ${queue} language plpgsql as $$
    begin
      return query
        with next as materialized (
          select msg_id from ${queue} where vt <= clock_timestamp() order by msg_id limit quantity for update skip locked
        )
        update ${queue} q set vt = clock_timestamp() + seconds * interval '1 second', read_ct = read_ct + 1
          from next where q.msg_id = next.msg_id returning q.*;
    end $$;

    create function ${queue}_delete(ids bigint[]) returns bigint language plpgsql as $$
    declare
      v_count bigint;
    begin
      delete from ${queue} where msg_id = any(ids);
      get diagnostics v_count = row_count;
      return v_count;
    end $$;`.replaceAll('send.message', `${queue}_send.message`)
}

/** @param {string} url @param {number} max */
function open(url, max) {
  return postgres(url, { max, onnotice: () => {} })
}

/** @param {readonly unknown[]} payloads */
function arrayOf(payloads) {
  return `{${payloads.map((payload) => `"${JSON.stringify(payload).replace(/["\\]/g, '\\$&')}"`).join(',')}}`
}

/** @param {AbortSignal} signal @returns {Promise<void>} */
function pauseUnless(signal) {
  return new Promise((resolve) => {
    const done = () => {
      clearTimeout(timer)
      signal.removeEventListener('abort', done)
      resolve()
    }
    const timer = setTimeout(done, pollMs)
    signal.addEventListener('abort', done)
  })
}
