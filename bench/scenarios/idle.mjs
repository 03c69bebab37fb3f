// 64 consumers in 4 processes with nothing to do, and what one enqueue sets off. Statements are counted by
// pg_stat_statements on a server of its own, everything included: heartbeats, BEGIN and COMMIT, the settle of the message.
import { pause } from '../harness/time.mjs'

/** @type {import('../harness/scenario.js').Scenario} */
export default {
  name: 'idle',
  title: '64 idle consumers in 4 processes',
  floors: [],
  metrics: ['idleStatements', 'wakeStatements', 'serverUs'],
  params: { processes: 4, consumers: 16, settleSeconds: 15, seconds: 30, enqueues: 10, bytes: 100 },
  quick: { processes: 2, consumers: 2, settleSeconds: 1, seconds: 2, enqueues: 2 },
  about:
    'Statements per second while nothing is enqueued; then the statements that one enqueue sets off beyond its own, the settle of the message included. Server CPU is that of one idle second.',
  server: { shared_preload_libraries: 'pg_stat_statements', 'pg_stat_statements.track': 'top' },

  refuses: ({ needs }) => (needs === 'redis' ? 'it sends no statements' : undefined),

  groups: () => [{ variant: 'idle' }],

  async run(stage, { processes, consumers: count, settleSeconds, seconds, enqueues, bytes }, { variant }) {
    const { sql } = stage
    await sql`create extension pg_stat_statements`
    const consumers = await stage.consumers({ processes, count })
    const producer = await stage.producers({ bytes })
    await producer.call('enqueueSingly', { callers: 1, seconds: 5, count: 5 })
    await stage.untilHandled(consumers, 5, 30_000)
    await pause(settleSeconds * 1000)

    await reset(stage)
    const cpu = stage.serverCpuMs()
    await pause(seconds * 1000)
    const cpuMs = stage.serverCpuMs() - cpu
    const idle = await statements(stage)
    const idleRate = total(idle) / seconds

    await reset(stage)
    const start = performance.now()
    await producer.call('enqueueSpaced', { count: enqueues, minPauseMs: 1500, maxPauseMs: 2500 })
    await stage.untilHandled(consumers, 5 + enqueues, 30_000)
    await pause(1000)
    const woken = await statements(stage)
    const beyond = total(woken) - (idleRate * (performance.now() - start)) / 1000
    return [
      {
        variant,
        metrics: {
          idleStatements: idleRate,
          wakeStatements: beyond / enqueues - 1,
          serverUs: (cpuMs * 1000) / seconds,
        },
        details: { idle, woken },
      },
    ]
  },
}

// --- internal ---

/** @param {import('../harness/stage.mjs').Stage} stage */
async function reset({ sql }) {
  await sql`select pg_stat_statements_reset()`
}

/** @param {import('../harness/stage.mjs').Stage} stage */
async function statements({ sql }) {
  const rows = await sql`
    select s.calls::integer as calls, left(s.query, 200) as text from pg_stat_statements s
     where s.dbid = (select oid from pg_database where datname = current_database()) and s.query not like '%pg_stat_statements%'
     order by s.calls desc`
  return rows.map(({ calls, text }) => ({ calls: Number(calls), text: String(text) }))
}

/** @param {readonly { calls: number }[]} found */
function total(found) {
  return found.reduce((sum, { calls }) => sum + calls, 0)
}
