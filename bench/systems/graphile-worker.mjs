// graphile-worker as its performance page measures it: batching on, 24 handlers, a local queue of 500. One runner for all
// consumers of a process, as the library wants it: it multiplexes them over one local queue and one LISTEN.
import { monotonicMs } from '../harness/time.mjs'
import { fill, inTransactions, once, openPool, ownWrites, timeStatements } from './peers/postgres.mjs'
import { share } from './peers/share.mjs'
import { versionOf } from './peers/version.mjs'

// The SQL interface, prepared: it is documented beside the JavaScript one, which takes a third longer for bulk, because it
// reads every row back.
const add = `select from graphile_worker.add_job($1::text, $2::json, run_at => now() + $3::double precision * interval '1 ms')`
const addMany = `
  select count(*) from graphile_worker.add_jobs(array(
    select row($1::text, payload, null, now() + $3::double precision * interval '1 ms', null, null, null, null)::graphile_worker.job_spec
      from json_array_elements($2::json) payload))`

const lendRunner = share(openRunner)

/** @type {import('../contract.js').System} */
export default {
  name: 'graphile-worker',
  kind: 'peer',
  version: () => versionOf('graphile-worker'),
  settings:
    'concurrentJobs 24, maxPoolSize 25, localQueue.size 500, completeJobBatchDelay 0, failJobBatchDelay 0 (worker.graphile.org/docs/performance), pollInterval 2 s (default); SQL add_job and add_jobs',
  minNode: 22,
  needs: 'postgres',
  coalesces: false,
  canJoinTransactions: true,

  async setup({ url, queue, otherQueue }) {
    const { runMigrations } = await import('graphile-worker')
    await runMigrations(await options(url))
    await once(url, 'insert into graphile_worker._private_tasks (identifier) values ($1), ($2)', [queue, otherQueue])
    await once(url, ownWrites)
  },

  async producer({ url, queue }, { connections, callers, isTransactional }) {
    const max = connections ?? Math.min(callers, 10)
    if (isTransactional)
      return inTransactions(
        url,
        max,
        (client, payload) => client.query({ name: 'add', text: add, values: [queue, JSON.stringify(payload), 0] }),
        monotonicMs,
      )
    const pool = await openPool(url, max)
    return {
      enqueue: (payload, { delayMs = 0 } = {}) =>
        pool.query({ name: 'add', text: add, values: [queue, JSON.stringify(payload), delayMs] }),
      enqueueMany: (payloads, { delayMs = 0 } = {}) =>
        pool.query({ name: 'addMany', text: addMany, values: [queue, JSON.stringify(payloads), delayMs] }),
      close: () => pool.end(),
    }
  },

  async consumer(context, onMessage, { concurrency = 24, batch = 500, onClaim, queue = context.queue }) {
    return lendRunner(queue, context, queue, onMessage, concurrency, batch, onClaim)
  },

  async backlog({ url, queue }, filling) {
    await fill(
      url,
      filling,
      `insert into graphile_worker._private_jobs (task_id, payload, run_at)
       select (select id from graphile_worker._private_tasks where identifier = '${queue}'), $5::json,
              now() + ($3::bigint + $4::integer * i) * interval '1 ms'
         from generate_series($1::bigint, $2::bigint) i`,
    )
  },

  async isEmpty({ url, queue }) {
    const [row] = await once(
      url,
      `select not exists (
         select from graphile_worker._private_jobs
          where task_id = (select id from graphile_worker._private_tasks where identifier = $1)
            and run_at < now() + interval '10 minutes') as is_empty`,
      [queue],
    )
    return row.is_empty
  },

  async teardown() {},
}

// --- internal ---

/**
 * @param {string} url
 * @param {object} [worker]
 */
async function options(url, worker) {
  const { Logger, WorkerPreset } = await import('graphile-worker')
  const logger = new Logger(() => (level, message) => {
    if (level === 'error') console.error(message)
  })
  return { preset: { extends: [WorkerPreset], worker: { connectionString: url, logger, ...worker } } }
}

/**
 * @param {import('../contract.js').Context} context
 * @param {string} queue
 * @param {import('../contract.js').OnMessage} onMessage
 * @param {number} concurrentJobs
 * @param {number} batch
 * @param {((ms: number) => void) | undefined} onClaim
 */
async function openRunner({ url }, queue, onMessage, concurrentJobs, batch, onClaim) {
  if (onClaim) timeStatements((text) => text.includes('locked_by = $1') && text.includes('skip locked'), onClaim)
  const { run } = await import('graphile-worker')
  const worker = {
    concurrentJobs,
    maxPoolSize: concurrentJobs + 1,
    localQueue: { size: batch },
    completeJobBatchDelay: 0,
    failJobBatchDelay: 0,
  }
  const { EventEmitter } = await import('node:events')
  const events = new EventEmitter()
  const listening = new Promise((resolve) => events.once('pool:listen:success', resolve))
  const runner = await run({
    ...(await options(url, worker)),
    events,
    noHandleSignals: true,
    parsedCronItems: [],
    taskList: { [queue]: async (payload) => onMessage(/** @type {import('../contract.js').Payload} */ (payload)) },
  })
  await listening
  return { close: () => runner.stop() }
}
