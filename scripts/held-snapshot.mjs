// Shows what an old snapshot does to a queue: vacuum can remove nothing while it is held, and a look walks every dead index
// entry unless its hint says where to begin. One loop in SQL enqueues at a steady rate, polls (which acks what it got before),
// and counts blocks and time of each poll, on a server of its own. Prints the first and the last tenth of the run, with the hint
// and without. Exits with 1 where the median with the hint is more than 1.3 times in the last tenth what it was in the first.
// Usage: node scripts/held-snapshot.mjs [messages a second] [seconds] [PostgreSQL major]
import { existsSync, readFileSync } from 'node:fs'
import pg from 'pg'
import { startEmbedded } from '../dist/esm/cli/embedded.js'
import { migrate } from '../dist/esm/index.js'

const rate = Number(process.argv[2] ?? 5_000)
const seconds = Number(process.argv[3] ?? 60)
const major = process.argv[4] ? Number(process.argv[4]) : undefined

const poll = `select p.id, p.attempt, p.next_ready_at, p.next_hint, p.lateness from dueq.poll(
  queue => 'held', max => 500, handlers => 500, hint => $1, listening => true, ack_ids => $2, ack_attempts => $3) p`
const quantile = (values, q) => values.toSorted((a, b) => a - b)[Math.floor((values.length - 1) * q)] ?? Number.NaN

async function run(isHinted) {
  const server = await startEmbedded({ settings: { autovacuum_naptime: '1s' }, major })
  await migrate({ url: server.url, schema: 'dueq' })
  const [client, producer, holder, observer] = await Promise.all(
    Array.from({ length: 4 }, async () => {
      const one = new pg.Client({ connectionString: server.url })
      await one.connect()
      return one
    }),
  )
  try {
    await client.query(`select dueq.create_queue('held')`)
    await holder.query('begin isolation level repeatable read')
    await holder.query('select count(*) from dueq.messages')
    const pid = (await client.query('select pg_backend_pid() as pid')).rows[0].pid
    // Of the process where the system tells, so that what else runs on the machine counts for nothing; else the time passed.
    const schedule = `/proc/${pid}/schedstat`
    const clock = existsSync(schedule)
      ? () => Number(readFileSync(schedule, 'utf8').split(' ')[0]) / 1e6
      : () => performance.now()
    const blocks = async () => {
      await Promise.all([client, producer].map((one) => one.query('select pg_stat_force_next_flush()').catch(() => {})))
      const { rows } = await observer.query(
        `select (heap_blks_hit + idx_blks_hit + heap_blks_read + idx_blks_read)::integer as blocks from pg_statio_user_tables where relid = 'dueq.messages'::regclass`,
      )
      return rows[0].blocks
    }
    const blocksAt = []
    const start = performance.now()
    const looks = []
    let enqueued = 0
    let hint = null
    let held = []
    let worstMs = 0
    while (performance.now() - start < seconds * 1000) {
      const due = Math.floor(((performance.now() - start) / 1000) * rate)
      if (due > enqueued) {
        await producer.query({
          name: 'enqueue',
          text: `select count(*) from dueq.enqueue_many('held', array_fill('{"n": 7}'::jsonb, array[$1::integer]))`,
          values: [due - enqueued],
        })
        enqueued = due
      }
      const values = [isHinted ? hint : null, held.map(({ id }) => id), held.map(({ attempt }) => attempt)]
      const at = (performance.now() - start) / 1000
      if (blocksAt.length <= Math.floor((at / seconds) * 6))
        blocksAt.push({ polls: looks.length, blocks: await blocks() })
      const before = clock()
      const { rows } = await client.query({ name: 'poll', text: poll, values })
      const ms = clock() - before
      const last = rows.pop()
      hint = last.next_hint
      held = rows
      looks.push({ at, ms, count: rows.length })
      for (const { lateness } of rows)
        worstMs = Math.max(worstMs, lateness.milliseconds ?? 0, (lateness.seconds ?? 0) * 1000)
      await new Promise((resolve) => setTimeout(resolve, 2))
    }
    const part = (from, to) => looks.filter(({ at }) => at >= from * seconds && at < to * seconds)
    const line = (looks) => {
      const times = looks.map(({ ms }) => ms)
      return `p50 ${quantile(times, 0.5).toFixed(2)} ms, p99 ${quantile(times, 0.99).toFixed(2)} ms, ${looks.length} polls`
    }
    blocksAt.push({ polls: looks.length, blocks: await blocks() })
    const perPoll = blocksAt
      .slice(1)
      .map(({ polls, blocks }, i) => (blocks - blocksAt[i].blocks) / (polls - blocksAt[i].polls))
    console.log(`blocks a poll, by sixths of the run: ${perPoll.map((n) => n.toFixed(0)).join(' ')}`)
    const [first, last] = [part(0.02, 1 / 6), part(5 / 6, 1)]
    console.log(
      `${isHinted ? 'with the hint' : 'without'}: first ${line(first)}; last ${line(last)}; latest message ${worstMs.toFixed(0)} ms; ${(enqueued / seconds).toFixed(0)} messages/s`,
    )
    return (
      quantile(
        last.map(({ ms }) => ms),
        0.5,
      ) /
      quantile(
        first.map(({ ms }) => ms),
        0.5,
      )
    )
  } finally {
    await Promise.all([client, producer, holder, observer].map((one) => one.end()))
    await server.stop()
  }
}

const grown = await run(true)
const without = await run(false)
console.log(`grown ${grown.toFixed(2)} times with the hint, ${without.toFixed(2)} times without`)
process.exitCode = grown <= 1.3 ? 0 : 1
