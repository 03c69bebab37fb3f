// BullMQ's PostgreSQL backend. It claims one job in each statement; what finishes one claims the next with it.
import { createBullmq } from './peers/bullmq.mjs'
import { fill, once, openPool, timeStatements } from './peers/postgres.mjs'

/** @type {import('../contract.js').System} */
export default {
  name: 'bullmq-postgres',
  ...createBullmq({
    async open({ url }, max) {
      const { createPostgresBackend } = await import('bullmq')
      const pool = await openPool(url, max, { keepAlive: true, options: '-c search_path=bullmq' })
      return { connection: pool, factory: createPostgresBackend, close: () => pool.end() }
    },
    concurrency: 32,
    timeClaims: (onClaim) =>
      timeStatements((text) => /\b(move_to_active|move_to_completed_fetch)\b/.test(text), onClaim),
  }),
  settings:
    'concurrency 32, a pool of one connection more, removeOnComplete (docs.bullmq.io/guide/postgresql, tuning tips); addBulk for bulk',
  needs: 'postgres',

  async setup({ url }) {
    const { runMigrations } = await import('bullmq')
    const pool = await openPool(url, 1)
    const client = await pool.connect()
    await runMigrations(client)
    client.release()
    await pool.end()
  },

  async backlog({ url, queue }, filling) {
    // Without the events that `add` writes, which nobody reads here; the worker does not need them.
    await fill(
      url,
      filling,
      `insert into bullmq.job (queue, id, seq, name, state, data, opts, delay_ms, added_at_ms, process_at_ms)
       select '${queue}', 'filling-' || seq, seq, 'message',
              case when $3::bigint > 0 then 'delayed' else 'waiting' end::bullmq.job_state, $5::jsonb,
              '{"attempts": 0, "removeOnComplete": true, "removeOnFail": true}', delay, now.ms,
              case when $3::bigint > 0 then now.ms + delay end
         from (select (extract(epoch from clock_timestamp()) * 1000)::bigint) now (ms), generate_series($1::bigint, $2::bigint) i,
              lateral (select $3::bigint + $4::integer * i, nextval('bullmq.job_seq')) t (delay, seq)`,
    )
  },

  async isEmpty({ url, queue }) {
    const [row] = await once(
      url,
      `select not exists (select from bullmq.job where queue = $1 and state in ('waiting', 'active'))
          and not exists (select from bullmq.job where queue = $1 and state = 'delayed'
                             and process_at_ms < extract(epoch from now()) * 1000 + 600000) as is_empty`,
      [queue],
    )
    return row.is_empty
  },

  async teardown() {},
}
