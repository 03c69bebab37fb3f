// pg-boss with what it offers for speed: batches, bursts, NOTIFY, and the shortest interval it polls at, which is what a
// delayed message waits for. One instance for each process, one `work` for each queue and process.
import { monotonicMs } from '../harness/time.mjs'
import { fill, inTransactions, once, ownWrites, timeStatements } from './peers/postgres.mjs'
import { share } from './peers/share.mjs'
import { versionOf } from './peers/version.mjs'

const lendBoss = share(openBoss)
const lendWork = share(openWork)

/** @type {import('../contract.js').System} */
export default {
  name: 'pg-boss',
  kind: 'peer',
  version: () => versionOf('pg-boss'),
  settings:
    'useListenNotify, notify, batchSize 500, localConcurrency 2, burstWhenBatchFull, polls each 0.5 s, the lowest allowed (pgboss.io/api/workers); insert for bulk; one pool of 10 (default)',
  minNode: 22,
  needs: 'postgres',
  coalesces: false,
  canJoinTransactions: true,

  async setup(context) {
    const boss = await openBoss(context)
    await boss.boss.createQueue(context.queue, { notify: true })
    await boss.boss.createQueue(context.otherQueue, { notify: true })
    await boss.close()
    await once(context.url, ownWrites)
  },

  async producer(context, { connections, isTransactional }) {
    const { url, queue } = context
    const max = connections ?? 10
    const key = connections === undefined ? 'producer' : Symbol('own')
    const { value, close } = await lendBoss(key, context, { max, supervise: false, schedule: false })
    const { boss } = value
    if (isTransactional) {
      const producer = await inTransactions(
        url,
        max,
        (client, payload) =>
          boss.send(queue, payload, { db: { executeSql: (text, values) => client.query(text, values) } }),
        monotonicMs,
      )
      return { ...producer, close: async () => void (await Promise.all([producer.close(), close()])) }
    }
    return {
      enqueue: (payload, { delayMs } = {}) => boss.send(queue, payload, { startAfter: instant(delayMs) }),
      enqueueMany: (payloads, { delayMs } = {}) =>
        boss.insert(
          queue,
          payloads.map((data) => ({ data, startAfter: instant(delayMs) })),
        ),
      close,
    }
  },

  async consumer(context, onMessage, { batch = 500, onClaim, queue = context.queue }) {
    return lendWork(queue, context, queue, onMessage, batch, onClaim)
  },

  async backlog({ url, queue }, filling) {
    await fill(
      url,
      filling,
      `insert into pgboss.job (name, data, policy, start_after, keep_until)
       select '${queue}', $5::jsonb, 'standard', due, due + interval '14 days'
         from generate_series($1::bigint, $2::bigint) i, lateral (select now() + ($3::bigint + $4::integer * i) * interval '1 ms') t (due)`,
    )
  },

  async isEmpty({ url, queue }) {
    const [row] = await once(
      url,
      `select not exists (
         select from pgboss.job
          where name = $1 and state < 'completed' and start_after < now() + interval '10 minutes') as is_empty`,
      [queue],
    )
    return row.is_empty
  },

  async teardown() {},
}

// --- internal ---

/** @param {number} [delayMs] */
function instant(delayMs) {
  return delayMs ? new Date(Date.now() + delayMs) : undefined
}

/**
 * @param {import('../contract.js').Context} context
 * @param {object} [options]
 */
async function openBoss({ url }, options) {
  const { PgBoss } = await import('pg-boss')
  const boss = new PgBoss({ connectionString: url, ...options })
  boss.on('error', (error) => console.error(error))
  await boss.start()
  return { boss, close: () => boss.stop() }
}

/**
 * @param {import('../contract.js').Context} context
 * @param {string} queue
 * @param {import('../contract.js').OnMessage} onMessage
 * @param {number} batchSize
 * @param {((ms: number) => void) | undefined} onClaim
 */
async function openWork(context, queue, onMessage, batchSize, onClaim) {
  if (onClaim) timeStatements((text) => /\bSKIP LOCKED\b/.test(text) && text.includes(`'active'`), onClaim)
  const { value, close } = await lendBoss('consumer', context, { useListenNotify: true })
  const options = {
    batchSize,
    localConcurrency: 2,
    burstWhenBatchFull: true,
    pollingIntervalSeconds: 0.5,
    notifyPollingIntervalSeconds: 0.5,
  }
  await value.boss.work(queue, options, async (jobs) => {
    for (const { data } of jobs) onMessage(/** @type {import('../contract.js').Payload} */ (data))
  })
  return {
    async close() {
      await value.boss.offWork(queue, { wait: true })
      await close()
    },
  }
}
