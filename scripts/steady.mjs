// Shows that a queue stays as fast as it was: many messages through enqueue, dequeue and ack while autovacuum runs every
// second and the table goes from empty to full and back several times. Prints the p99 of each tenth and the sequential
// scans of `messages`; exits with 1 where a scan was seen or the last tenth is more than twice as slow as the first.
// Usage: node scripts/steady.mjs [messages] [PostgreSQL major]
import pg from 'pg'
import { startEmbedded } from '../dist/esm/cli/embedded.js'
import { migrate } from '../dist/esm/index.js'

const total = Number(process.argv[2] ?? 300_000)
const waves = 5
const batch = 100
const server = await startEmbedded({
  settings: { autovacuum_naptime: '1s' },
  major: process.argv[3] ? Number(process.argv[3]) : undefined,
})
const client = new pg.Client({ connectionString: server.url })
try {
  await migrate({ url: server.url, schema: 'dueq' })
  await client.connect()
  await client.query(`select dueq.create_queue('steady')`)
  const scans = async () => {
    await client.query('select pg_stat_force_next_flush()').catch(() => {})
    await new Promise((resolve) => setTimeout(resolve, 1200))
    return Number(
      (await client.query(`select seq_scan from pg_stat_user_tables where relid = 'dueq.messages'::regclass`)).rows[0]
        .seq_scan,
    )
  }
  const timed = async (times, text, params) => {
    const start = performance.now()
    const { rows } = await client.query({ text, values: params, name: text })
    times.push(performance.now() - start)
    return rows
  }
  const dequeues = []
  const acks = []
  const before = await scans()
  for (let wave = 0; wave < waves; wave++) {
    for (let i = 0; i < total / waves; i += 1000)
      await client.query(
        `select count(*) from dueq.enqueue_many('steady', array(select jsonb_build_object('n', n) from generate_series(1, 1000) n))`,
      )
    for (;;) {
      const rows = await timed(dequeues, 'select id, attempt from dueq.dequeue($1, max => $2)', ['steady', batch])
      if (rows.length === 0) break
      await timed(acks, 'select id from dueq.ack_many($1, $2)', [
        rows.map((row) => row.id),
        rows.map((row) => row.attempt),
      ])
    }
    await new Promise((resolve) => setTimeout(resolve, 1500)) // empty long enough for autovacuum and analyze to see it
  }
  const after = await scans()
  const p99 = (times) => times.toSorted((a, b) => a - b)[Math.floor(times.length * 0.99)]
  const tenth = (times, i) =>
    times.slice(Math.floor((times.length * i) / 10), Math.floor((times.length * (i + 1)) / 10))
  const { rows } = await client.query('select version()')
  console.log(
    `${rows[0].version.split(' ').slice(0, 2).join(' ')}, ${total} messages in ${waves} waves, batches of ${batch}`,
  )
  let isSteady = after === before
  console.log(`sequential scans of messages: ${before} before, ${after} after`)
  for (const [name, times] of Object.entries({ dequeue: dequeues, ack: acks })) {
    const tenths = Array.from({ length: 10 }, (_, i) => p99(tenth(times, i)))
    const ratio = tenths[9] / tenths[0]
    isSteady &&= ratio <= 2
    console.log(
      `${name.padEnd(8)} p99 by tenth (ms): ${tenths.map((ms) => ms.toFixed(1)).join(' ')}   last / first ${ratio.toFixed(2)}`,
    )
  }
  process.exitCode = isSteady ? 0 : 1
} finally {
  await client.end().catch(() => {})
  await server.stop()
}
