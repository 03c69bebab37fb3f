// Samples a run while it is under load: the memory of its processes, what they hold open, and what the queue takes on disk.
// A figure that cannot be had at that moment (the server is being killed) is null.
import { execFile } from 'node:child_process'
import { readFile } from 'node:fs/promises'
import { promisify } from 'node:util'
import pg from 'pg'

/** Beyond this the server is down, or too busy to be measured. */
const patienceMs = 3000

/**
 * Starts to sample. `samples` grows; `end` stops it, and `heard` counts the lateness of every first delivery.
 * @param {import('../../dist/esm/cli/torture/watch.js').WatchedRun} run
 * @param {{ everyMs: number, onSample?: (sample: Sample) => void }} options
 */
export function startSampler({ place, queue, run, slots, director }, { everyMs, onSample = () => {} }) {
  const pool = new pg.Pool({
    connectionString: place.url,
    application_name: `${run}.sampler`,
    max: 1,
    connectionTimeoutMillis: patienceMs,
    query_timeout: patienceMs,
    statement_timeout: patienceMs,
  })
  pool.on('error', () => {}) // the server is killed now and then
  const samples = []
  const lateness = []
  const startedAt = performance.now()
  let before = { seconds: 0, ...countsOf(slots) }
  const sample = async () => {
    const [memory, database] = await Promise.all([
      Promise.all(slots.map(({ pid }) => residentBytes(pid))),
      lookAt(pool, { schema: place.schema, queue, run }).catch(() => null),
    ])
    const now = { seconds: (performance.now() - startedAt) / 1000, ...countsOf(slots) }
    // The first sample is taken at once, and has no time behind it.
    const elapsed = samples.length === 0 ? Number.NaN : now.seconds - before.seconds
    const perSecond = (field) => (elapsed > 0 ? Math.max(0, now[field] - before[field]) / elapsed : null)
    const processes = slots.map(({ name, role, isSpared }, i) => ({ name, role, isSpared, bytes: memory[i] }))
    const rates = { enqueued: perSecond('enqueued'), delivered: perSecond('claimed') }
    const faults = { underWay: director.active().length, over: director.spans.length }
    const found = { seconds: now.seconds, processes, ...rates, faults, database }
    before = now
    samples.push(found)
    onSample(found)
  }
  let isOver = false
  let wake = () => {}
  const sampling = (async () => {
    await sample()
    for (let next = everyMs; !isOver; next += everyMs) {
      await new Promise((resolve) => {
        wake = resolve
        setTimeout(resolve, Math.max(0, startedAt + next - performance.now())).unref()
      })
      if (!isOver) await sample()
    }
  })()
  return {
    samples,
    /** Of first deliveries: microseconds since 1970 of the claim, and milliseconds after the message was due. */
    lateness,
    heard(record) {
      if (record.type === 'claimed' && record.attempt === 1)
        lateness.push([Date.parse(record.at) * 1000, record.latenessMs])
    },
    async end() {
      if (isOver) return
      isOver = true
      wake()
      await sampling
      await pool.end()
    },
  }
}

// --- internal ---

/** @typedef {{ seconds: number, processes: object[], enqueued: number, delivered: number, faults: object, database: object | null }} Sample */

function countsOf(slots) {
  const sum = (field) => slots.reduce((total, { counts }) => total + counts[field], 0)
  return { enqueued: sum('enqueued'), claimed: sum('claimed') }
}

/** The resident memory of a process, in bytes; null where there is none. */
async function residentBytes(pid) {
  if (pid === undefined) return null
  try {
    if (process.platform !== 'linux') {
      const { stdout } = await promisify(execFile)('ps', ['-o', 'rss=', '-p', String(pid)])
      return Number(stdout) * 1024 || null
    }
    const status = await readFile(`/proc/${pid}/status`, 'utf8')
    return Number(/^VmRSS:\s+(\d+) kB/m.exec(status)?.[1]) * 1024 || null
  } catch {
    return null
  }
}

const text = `
  with tables as (
    select c.oid, c.relname::text as name from pg_class c
     where c.relnamespace = $1::regnamespace and c.relkind in ('r', 'p')
  ), indexes as (
    select c.relname::text as name, pg_relation_size(c.oid) as bytes
      from pg_index i join tables t on t.oid = i.indrelid join pg_class c on c.oid = i.indexrelid
     where t.name = 'messages'
  ), sessions as (
    select a.application_name as name, count(*)::int as count from pg_stat_activity a
     where a.backend_type = 'client backend' group by a.application_name
  )
  select (extract(epoch from clock_timestamp()) * 1000000)::float8 as micros,
         (select jsonb_object_agg(name, pg_table_size(oid)) from tables) as tables,
         (select jsonb_object_agg(name, bytes) from indexes) as indexes,
         (select sum(pg_total_relation_size(oid))::float8 from tables) as total,
         (select jsonb_object_agg(name, count) from sessions) as sessions,
         s.n_dead_tup::int as dead_tuples, s.autovacuum_count::int as autovacuums,
         q.ready::int as ready, q.delayed::int as delayed, q.leased::int as leased
    from tables t
    join pg_stat_all_tables s on s.relid = t.oid
    cross join %.queue_stats q
   where t.name = 'messages' and q.queue = $2`

async function lookAt(pool, { schema, queue, run }) {
  const { rows } = await pool.query(text.replace('%', `"${schema}"`), [schema, queue])
  const { sessions, dead_tuples, micros, ...found } = rows[0]
  const connections = { producers: 0, consumers: 0, others: 0 }
  for (const [name, count] of Object.entries(sessions)) {
    const role = name.startsWith(`${run}.`) ? `${/^[a-z]+/.exec(name.slice(run.length + 1))}s` : 'others'
    connections[role in connections ? role : 'others'] += count
  }
  return { ...found, micros, deadTuples: dead_tuples, connections }
}
