// Shows how soft max_depth is: 64 producers, 8 processes of 8 callers with a connection each, enqueue as fast as they can into a
// queue whose consumers are slow, each call in a statement of its own, and then sharing statements. Another session counts the
// messages all the time. Then what the limit costs: enqueue into a queue without and with one, in turns.
// Exits with 1 where more messages were seen than max_depth and those of the statements that may be open at once.
// Usage: node scripts/depth.mjs [seconds] [max_depth] [messages a second that consumers take] [PostgreSQL major]
import { fork } from 'node:child_process'
import { readdirSync, readFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import pg from 'pg'
import { startEmbedded } from '../dist/esm/cli/embedded.js'
import { connect, isDueqError, migrate } from '../dist/esm/index.js'

const processes = 8
const callers = 8
const connections = 8
const payload = { text: 'x'.repeat(80) }

if (process.send) await produce(JSON.parse(process.argv[2]))
else await main()

/** One producer process: so many callers in a loop, until it is told to stop. A refused caller comes back after a moment. */
async function produce({ url, queue, coalesce, wait, callers }) {
  const dueq = connect({ url, max: connections, coalesce, listen: false, onEvent: () => {} })
  const { enqueue, stats } = dueq.queue(queue)
  const counts = { enqueued: 0, refused: 0 }
  let isOver = false
  await Promise.all(Array.from({ length: connections }, () => stats())) // every connection is open
  process.send('ready')
  await new Promise((resolve) => process.once('message', resolve))
  process.once('message', () => {
    isOver = true
  })
  const loop = async () => {
    while (!isOver) {
      try {
        await enqueue(payload, wait ? { wait } : {})
        counts.enqueued++
      } catch (error) {
        if (!isDueqError(error) || error.code !== 'queue.full') {
          console.error(error)
          process.exit(1)
        }
        counts.refused++
        await new Promise((resolve) => setTimeout(resolve, 1))
      }
    }
  }
  await Promise.all(Array.from({ length: callers }, loop))
  await dueq.close()
  process.send(counts)
  process.disconnect()
}

async function main() {
  const [seconds = 10, maxDepth = 10_000, rate = 1_000, major] = process.argv.slice(2).map(Number)
  const server = await startEmbedded({ major, settings: { max_connections: '120' } })
  const open = async () => {
    const client = new pg.Client({ connectionString: server.url })
    await client.connect()
    return client
  }
  try {
    await migrate({ url: server.url, schema: 'dueq' })
    const [consumer, sampler] = [await open(), await open()]
    const { rows } = await sampler.query('show server_version')
    console.log(
      `PostgreSQL ${rows[0].server_version}, ${processes} processes of ${callers} callers, ${seconds} s each, max_depth ${maxDepth}`,
    )
    const cases = [
      { name: 'a statement each', coalesce: false, callers, slack: processes * callers },
      { name: 'sharing statements', coalesce: true, callers, slack: processes * callers },
      { name: 'sharing statements, 64 callers a process', coalesce: true, callers: 64, slack: processes * 64 },
      { name: 'waiting', coalesce: true, callers, wait: '1h', slack: processes * callers },
    ]
    for (const given of cases) {
      await consumer.query(`select dueq.create_queue('limited', max_depth => $1)`, [maxDepth])
      await consumer.query(`select dueq.purge('limited', max => 100000)`)
      await consumer.query(
        `select count(*) from dueq.enqueue_many('limited', array_fill('1'::jsonb, array[$1::integer]))`,
        [Math.floor(maxDepth * 0.98)],
      )
      const result = await run({ server, consumer, sampler, seconds, rate, given: { ...given, queue: 'limited' } })
      const isWithin = result.highest <= maxDepth + given.slack
      if (!isWithin) process.exitCode = 1
      console.log(
        `${given.name.padEnd(42)} highest depth ${result.highest} in ${result.samples} counts (limit + ${given.slack} at most: ${isWithin ? 'kept' : 'BROKEN'}), in the second half never below ${result.lowest}; ${result.enqueued} enqueued, ${result.refused} refused, server ${result.cpuMs} ms`,
      )
    }
    console.log('\nWithout consumers, into an empty queue: server CPU for a message, in turns')
    const figures = new Map()
    for (let round = 0; round < 5; round++)
      for (const coalesce of [false, true])
        for (const limit of [0, 100_000_000]) {
          await consumer.query('truncate dueq.messages')
          await consumer.query(`select dueq.create_queue('limited', max_depth => $1)`, [limit])
          const given = { coalesce, callers, queue: 'limited' }
          const { enqueued, cpuMs, ms } = await run({
            server,
            consumer,
            sampler,
            seconds: Math.min(seconds, 3),
            rate: 0,
            given,
          })
          const name = `${coalesce ? 'sharing statements' : 'a statement each'}, ${limit ? 'limited' : 'no limit'}`
          const known = figures.get(name) ?? []
          figures.set(name, [...known, { us: (cpuMs * 1000) / enqueued, rate: (enqueued / ms) * 1000 }])
        }
    const median = (values) => values.toSorted((a, b) => a - b)[values.length >> 1]
    for (const [name, all] of figures)
      console.log(
        `${name.padEnd(42)} ${median(all.map(({ us }) => us)).toFixed(1)} µs, ${Math.round(median(all.map(({ rate }) => rate)))}/s`,
      )
    await Promise.all([consumer.end(), sampler.end()])
  } finally {
    await server.stop()
  }
}

/** Producers for so long, a consumer that takes `rate` messages a second (0: none, and nobody counts), and whoever counts. */
async function run({ server, consumer, sampler, seconds, rate, given }) {
  const members = Array.from({ length: processes }, () =>
    fork(fileURLToPath(import.meta.url), [JSON.stringify({ url: server.url, ...given })]),
  )
  await Promise.all(members.map((member) => new Promise((resolve) => member.once('message', resolve))))
  const cpuBefore = serverCpuMs(server)
  for (const member of members) member.send('go')
  const ended = members.map(
    (member) =>
      new Promise((resolve, reject) => {
        member.once('message', resolve)
        member.once('exit', (code) => reject(new Error(`A producer ended with ${code}`)))
      }),
  )
  const start = performance.now()
  const isOver = () => performance.now() - start > seconds * 1000
  let highest = 0
  let lowest = Number.POSITIVE_INFINITY
  let samples = 0
  const counting = async () => {
    while (rate > 0 && !isOver()) {
      const { rows } = await sampler.query({
        name: 'depth',
        text: `select count(*)::integer as depth from dueq.messages m where m.queue_id = (select q.id from dueq.queues q where q.name = 'limited')`,
      })
      samples++
      highest = Math.max(highest, rows[0].depth)
      if (highest >= 9 && performance.now() - start > seconds * 500) lowest = Math.min(lowest, rows[0].depth)
      await new Promise((resolve) => setTimeout(resolve, 5))
    }
  }
  const consuming = async () => {
    let taken = 0
    while (rate > 0 && !isOver()) {
      const due = Math.floor(((performance.now() - start) / 1000) * rate) - taken
      if (due > 0) {
        const { rows } = await consumer.query({
          name: 'dequeue',
          text: `select d.id, d.attempt from dueq.dequeue('limited', $1) d`,
          values: [Math.min(due, 1000)],
        })
        await consumer.query({
          name: 'ack',
          text: 'select a.id from dueq.ack_many($1, $2) a',
          values: [rows.map((row) => row.id), rows.map((row) => row.attempt)],
        })
        taken += due
      }
      await new Promise((resolve) => setTimeout(resolve, 20))
    }
  }
  await Promise.all([counting(), consuming(), new Promise((resolve) => setTimeout(resolve, seconds * 1000))])
  const ms = performance.now() - start
  for (const member of members) member.send('stop')
  if (given.wait) await consumer.query(`select dueq.create_queue('limited', max_depth => 0)`)
  const counts = await Promise.all(ended)
  const cpuMs = Math.round(serverCpuMs(server) - cpuBefore)
  const sum = (field) => counts.reduce((total, one) => total + one[field], 0)
  return { highest, lowest, samples, enqueued: sum('enqueued'), refused: sum('refused'), cpuMs, ms }
}

/** CPU of all processes of the server, those that have ended included, in ms; 0 where the system does not tell. */
function serverCpuMs({ url }) {
  try {
    const port = new URL(url).port
    const stats = readdirSync('/proc')
      .filter((name) => /^\d+$/.test(name))
      .flatMap((pid) => {
        try {
          const [command, rest] = readFileSync(`/proc/${pid}/stat`, 'utf8').split(/\) (?=\S \d)/)
          const fields = rest.split(' ')
          return [
            {
              pid,
              command,
              parent: fields[1],
              ms: fields.slice(11, 15).reduce((total, one) => total + Number(one), 0) * 10,
            },
          ]
        } catch {
          return []
        }
      })
    const postmaster = stats.find(({ pid, command }) => {
      if (!command.includes('postgres')) return false
      const text = readFileSync(`/proc/${pid}/cmdline`, 'utf8').replaceAll('\0', ' ')
      return text.includes(' -D ') && text.includes(port)
    })
    if (!postmaster) return 0
    return stats
      .filter(({ pid, parent }) => pid === postmaster.pid || parent === postmaster.pid)
      .reduce((total, { ms }) => total + ms, 0)
  } catch {
    return 0
  }
}
