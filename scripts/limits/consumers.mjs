// 1,000 consumers of 1,000 queues in one process, on one client with its four connections.
import { readdirSync, readFileSync } from 'node:fs'
import postgres from 'postgres'
import { connect, defineQueue } from '../../dist/esm/index.js'

const count = 1000

export default async function consumers({ url, serverPid, step, pause, round }) {
  const events = []
  const dueq = connect({ url, schema: 'dueq', onEvent: ({ type }) => events.push(type) })
  const bystander = connect({ url, schema: 'dueq', listen: false })
  const sql = postgres(url, { max: 1, onnotice: () => {} })
  const definitions = Array.from({ length: count }, (_, i) => defineQueue(`queue-${i}`))
  await dueq.ensure(definitions)
  let arrived = () => {}
  const running = []
  const until = async (isSo) => {
    const deadline = performance.now() + 30_000
    while (!isSo() && performance.now() < deadline) await pause(2)
  }

  const transactions = async () => {
    await pause(1100) // sessions report at most once a second
    const [row] = await sql`select xact_commit::int as count from pg_stat_database where datname = current_database()`
    return row.count
  }
  const beforeStart = await transactions()
  await step('start, until each has looked once', count, async () => {
    for (const definition of definitions) running.push(dueq.queue(definition).consume(() => arrived()))
    await until(() => running.every(({ status }) => status.lastClaimAt))
  })
  await until(() => events.includes('listen.up'))
  await step('its statements', count, async () => `${(await transactions()) - beforeStart}`)
  await step('as many on one queue', count, async () => {
    const before = await transactions()
    const crowd = connect({ url, schema: 'dueq', onEvent: () => {} })
    const consumers = Array.from({ length: count }, () => crowd.queue('queue-0').consume(() => {}))
    await until(() => consumers.every(({ status }) => status.lastClaimAt))
    const statements = (await transactions()) - before
    await crowd.close({ deadline: '5s' })
    return `${statements} statements`
  })
  await pause(6000) // the herd of the start settles
  const idle = () =>
    step('idle for 10 s', count, async () => {
      const [before, cpu, server] = [await transactions(), process.cpuUsage(), serverCpuMs(serverPid)]
      await pause(10_000)
      const own = process.cpuUsage(cpu)
      const statements = (await transactions()) - before
      const serverMs = serverCpuMs(serverPid) - server
      return `${round(statements / 10)} statements/s, process ${round((own.user + own.system) / 1e5)} % of a core, server ${round(serverMs / 100)} %`
    })
  const latency = (name, client) =>
    step(name, 200, async () => {
      const times = []
      for (let i = 0; i < 200; i++) {
        const arrival = new Promise((resolve) => (arrived = resolve))
        const start = performance.now()
        await client.queue(definitions[(i * 37) % count]).enqueue(i)
        await arrival
        times.push(performance.now() - start)
        await pause(20)
      }
      arrived = () => {}
      return quantiles(times)
    })
  await idle()
  await latency('one message, enqueue to handler', bystander)
  await step('one message to each queue', count, async () => {
    let seen = 0
    const all = new Promise((resolve) => (arrived = () => ++seen === count && resolve()))
    await Promise.all(definitions.map((definition, i) => bystander.queue(definition).enqueue(i)))
    await all
    arrived = () => {}
  })
  await step('listener lost: enqueues behind the herd', count, async () => {
    const times = []
    let isOver = false
    const enqueues = (async () => {
      while (!isOver) {
        const start = performance.now()
        await dueq.queue('queue-0').enqueue('behind', { delay: '1h' })
        times.push(performance.now() - start)
        await pause(1)
      }
    })()
    await pause(500)
    const looksBefore = running.map(({ status }) => status.lastClaimAt.getTime())
    await sql`select pg_terminate_backend(pid) from pg_stat_activity where application_name = 'dueq listen'`
    const start = performance.now()
    await until(() => running.every(({ status }, i) => status.lastClaimAt.getTime() > looksBefore[i]))
    const tookMs = performance.now() - start
    await pause(500)
    isOver = true
    await enqueues
    return `all looked again after ${round(tookMs)} ms; enqueue ${quantiles(times)}`
  })
  await step('every connection lost at once', count, async () => {
    const times = []
    const looksBefore = running.map(({ status }) => status.lastClaimAt.getTime())
    await sql`select pg_terminate_backend(pid) from pg_stat_activity where pid <> pg_backend_pid() and application_name like 'dueq%'`
    const start = performance.now()
    const end = start + 3000
    while (performance.now() < end) {
      const sentAt = performance.now()
      await dueq
        .queue('queue-0')
        .enqueue('behind', { delay: '1h' })
        .catch(() => {})
      times.push(performance.now() - sentAt)
      await pause(1)
    }
    const again = running.filter(({ status }, i) => status.lastClaimAt.getTime() > looksBefore[i]).length
    return `${again} looked again within 3 s; enqueue ${quantiles(times)}`
  })
  await idle()
  await step('close', count, () => dueq.close({ deadline: '5s' }))
  await bystander.close()
  await sql.end()

  function quantiles(times) {
    const sorted = times.toSorted((a, b) => a - b)
    const at = (share) => round(sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * share))])
    return `p50 ${at(0.5)} ms, p99 ${at(0.99)} ms, max ${at(1)} ms`
  }
}

/** User and system time of the server's processes, those that have ended included; 0 where there is no /proc. */
function serverCpuMs(pid) {
  try {
    let ticks = 0
    for (const name of readdirSync('/proc').filter((entry) => /^\d+$/.test(entry))) {
      const fields = stat(name)
      if (fields && name === String(pid)) ticks += fields[11] + fields[12] + fields[13] + fields[14]
      else if (fields && fields[1] === pid) ticks += fields[11] + fields[12]
    }
    return ticks * 10
  } catch {
    return 0
  }
}

/** The fields of /proc/PID/stat behind the name of the process; undefined where it has ended. */
function stat(pid) {
  try {
    return readFileSync(`/proc/${pid}/stat`, 'utf8')
      .replace(/^.*\) /, '')
      .split(' ')
      .map(Number)
  } catch {
    return undefined
  }
}
