// Shows what a fail-over costs: producers and consumers, as processes, on a URL of two hosts; again and again the primary is
// killed with SIGKILL and its synchronous standby promoted, and a new standby takes the place of the dead. Prints how long
// deliveries paused, and what became of every enqueue; exits with 1 where an acknowledged one was lost, one that is said
// to have failed was delivered, or a message repeated under its dedup key exists twice.
// The servers share a disk with each other and with whatever else runs, and no power fails: so they run without fsync.
// Usage: node scripts/failover.mjs [rounds] [messages/s] [PostgreSQL major] [ms from the kill to the promotion]
import { fork } from 'node:child_process'
import { once } from 'node:events'
import { setTimeout as delay } from 'node:timers/promises'
import pg from 'pg'
import { startEmbedded } from '../dist/esm/cli/embedded.js'
import { replicationSettings, startStandby } from '../dist/esm/cli/embedded-standby.js'
import { migrate } from '../dist/esm/index.js'

const [rounds = 5, rate = 500, major = 18, detectMs = 500] = process.argv.slice(2).map(Number)
const processes = { producer: 2, consumer: 2 }
const leaseMs = 30_000
const delayMs = 20_000
const patienceMs = 60_000

let primary = await startEmbedded({ major, settings: { ...replicationSettings, fsync: 'off' } })
let standby
const children = []
const enqueued = new Map()
const delivered = []
const events = []

const start = (kind, order) => {
  const child = fork(new URL(`./failover/${kind}.mjs`, import.meta.url), [], {
    env: { ...process.env, ORDER: JSON.stringify(order) },
    execArgv: [],
  })
  child.on('message', (told) => {
    for (const one of told.enqueued ?? []) enqueued.set(one.ref, one)
    for (const one of told.delivered ?? []) delivered.push({ ...one, by: order.name })
    for (const one of told.events ?? []) events.push({ ...one, by: order.name })
  })
  child.once('exit', (code) => {
    if (code !== 0 || !child.isTold) throw new Error(`${order.name} ended by itself (${code})`)
  })
  children.push(child)
  return child
}
const stop = async (child) => {
  child.isTold = true
  child.send('stop')
  await once(child, 'exit')
}
const until = async (what, look) => {
  for (const deadline = Date.now() + patienceMs; Date.now() < deadline; await delay(20)) {
    const found = look()
    if (found) return found
  }
  throw new Error(`${what}: not within ${patienceMs / 1000} s. ${JSON.stringify(events.slice(-10))}`)
}
const isAcknowledged = ({ outcome }) => outcome === 'created' || outcome === 'found'
const median = (times) => times.toSorted((a, b) => a - b)[Math.floor(times.length / 2)]
const spread = (times) => `median ${median(times)} ms, max ${Math.max(...times)} ms`

try {
  await migrate({ url: primary.url, schema: 'dueq' })
  standby = await startStandby(primary)
  const url = primary.url.replace(/127\.0\.0\.1:\d+/, `127.0.0.1:${primary.port},127.0.0.1:${standby.port}`)
  const client = new pg.Client({ connectionString: primary.url })
  await client.connect()
  await client.query(`select dueq.create_queue('failover', lease => '${leaseMs} ms')`)
  await client.end()
  const names = (kind) => Array.from({ length: processes[kind] }, (_, i) => `${kind} ${i + 1}`)
  const consumers = names('consumer').map((name) => start('consumer', { name, url, leaseMs }))
  const producers = names('producer').map((name) =>
    start('producer', { name, url, rate: rate / processes.producer, delayMs }),
  )
  await until('first deliveries', () => delivered.length > rate)
  console.log(
    `PostgreSQL ${major}, ${rate} messages/s from ${processes.producer} processes to ${processes.consumer}, ${rounds} fail-overs, promotion ${detectMs} ms after the kill`,
  )

  const pauses = { first: [], last: [], enqueue: [], listen: [], fromKill: [] }
  for (let round = 1; round <= rounds; round++) {
    await delay(3_000)
    const killedAt = Date.now()
    await primary.kill()
    await delay(detectMs)
    const orderedAt = Date.now()
    await standby.promote()
    const promotedAt = Date.now()
    const again = await until('deliveries after the promotion', () => {
      const firsts = names('consumer').map((name) =>
        delivered.find(({ by, claimedAt }) => by === name && claimedAt >= orderedAt),
      )
      return firsts.every(Boolean) && firsts.map(({ at }) => at)
    })
    const acknowledgedAt = await until('an enqueue after the promotion', () => {
      const ats = [...enqueued.values()].filter(isAcknowledged).map(({ at }) => at)
      return ats.filter((at) => at > promotedAt).sort((a, b) => a - b)[0]
    })
    const listeningAt = await until('everybody listens', () => {
      const ups = names('consumer').map((name) =>
        events.find(({ by, type, at }) => by === name && type === 'listen.up' && at > orderedAt),
      )
      return ups.every(Boolean) && Math.max(...ups.map(({ at }) => at))
    })
    pauses.first.push(Math.min(...again) - orderedAt)
    pauses.last.push(Math.max(...again) - orderedAt)
    pauses.fromKill.push(Math.max(...again) - killedAt)
    pauses.enqueue.push(acknowledgedAt - orderedAt)
    pauses.listen.push(listeningAt - orderedAt)
    console.log(
      `${round}: promoted in ${promotedAt - orderedAt} ms; delivering again ${pauses.first.at(-1)} ms after the order to promote, every process after ${pauses.last.at(-1)} ms (${pauses.fromKill.at(-1)} ms after the kill); enqueueing after ${pauses.enqueue.at(-1)} ms, listening after ${pauses.listen.at(-1)} ms`,
    )
    const { port } = primary
    await primary.stop()
    primary = standby
    standby = await startStandby(primary, { port })
  }

  await delay(2_000)
  await Promise.all(producers.map(stop))
  const judge = () => {
    const counts = {
      acknowledged: 0,
      lost: 0,
      failed: 0,
      phantom: 0,
      landed: 0,
      notLanded: 0,
      repeated: 0,
      found: 0,
      created: 0,
      twice: 0,
      tooLate: 0,
    }
    const ids = new Map()
    for (const { ref, id } of delivered) ids.set(ref, (ids.get(ref) ?? new Set()).add(id))
    for (const { ref, outcome, isKeyed, wasUnknown, at } of enqueued.values()) {
      const copies = ids.get(ref)?.size ?? 0
      if (outcome === 'failed') counts[copies > 0 ? 'phantom' : 'failed']++
      else if (outcome === 'unknown') counts[copies > 0 ? 'landed' : 'notLanded']++
      else {
        counts.acknowledged++
        if (copies === 0) counts.lost++
        if (copies > 1) {
          const ats = delivered.filter((one) => one.ref === ref).map(({ claimedAt }) => claimedAt)
          counts[at > Math.min(...ats) ? 'tooLate' : 'twice']++
        }
        if (isKeyed && wasUnknown) {
          counts.repeated++
          counts[outcome]++
        }
      }
    }
    return counts
  }
  // What is not there after a lease and a delay is not there.
  for (const end = Date.now() + leaseMs + delayMs + 5_000; judge().lost > 0 && Date.now() < end; ) await delay(200)
  await delay(1_000)
  await Promise.all(consumers.map(stop))
  const counts = judge()
  const again = delivered.length - new Set(delivered.map(({ id }) => id)).size
  console.log(
    `deliveries after the order to promote: first ${spread(pauses.first)}; every process ${spread(pauses.last)}`,
  )
  console.log(`deliveries after the kill: every process ${spread(pauses.fromKill)}`)
  console.log(`enqueues after the order to promote: ${spread(pauses.enqueue)}; listening: ${spread(pauses.listen)}`)
  console.log(
    `${enqueued.size} enqueued: ${counts.acknowledged} acknowledged, of which ${counts.lost} lost and ${counts.twice} twice; ${counts.failed} known to have failed, of which ${counts.phantom} delivered all the same`,
  )
  console.log(
    `unknown outcomes: ${counts.landed + counts.notLanded} not repeated (${counts.landed} had landed, ${counts.notLanded} had not), ${counts.repeated} repeated under their dedup key until acknowledged (${counts.found} had landed, ${counts.created} had not; ${counts.tooLate} repeated too late, after the first was consumed)`,
  )
  console.log(`${delivered.length} deliveries, ${again} of them again because their ack was not known to be committed`)
  if (counts.lost + counts.phantom + counts.twice > 0) process.exitCode = 1
} finally {
  for (const child of children) child.kill('SIGKILL')
  await Promise.all([primary.stop(), standby?.stop()])
}
