// 10,000 leases in one process: how they are extended, and what handlers see of it.
import { connect, defineQueue } from '../../dist/esm/index.js'

const count = 10_000

export default async function leases({ url, step, pause, round }) {
  const dueq = connect({ url, schema: 'dueq', onEvent: ({ type }) => counts.set(type, (counts.get(type) ?? 0) + 1) })
  const counts = new Map()
  const held = defineQueue('held', { lease: '10s' })
  await dueq.ensure([held])
  const queue = dueq.queue(held)
  await queue.enqueueMany(Array.from({ length: count }, (_, n) => ({ payload: n })))
  let finish = () => {}
  const finished = new Promise((resolve) => (finish = resolve))
  let running = 0
  const consumer = queue.consume(
    async () => {
      running++
      await finished
    },
    { concurrency: count },
  )
  await step('claim them all, concurrency 10,000', count, async () => {
    while (running < count) await pause(5)
  })
  await step('hold them for 30 s, leases of 10 s', count, async () => {
    const cpu = process.cpuUsage()
    await pause(30_000)
    const { user, system } = process.cpuUsage(cpu)
    return `${counts.get('lease.lost') ?? 0} lost; process ${round((user + system) / 3e5)} % of a core`
  })
  await step('all handlers return at once', count, async () => {
    finish()
    while ((counts.get('message.acked') ?? 0) < count) await pause(5)
    return `${counts.get('lease.lost') ?? 0} lost`
  })
  await step('stop', count, () => consumer.stop())
  await step('dequeue and ack, each lease of another length', 1000, async () => {
    await queue.enqueueMany(Array.from({ length: 1000 }, (_, n) => ({ payload: n })))
    for (let n = 0; n < 1000; n++) {
      const [message] = await queue.dequeue({ lease: 10_000 + n })
      await message.ack()
    }
  })
  await dueq.close()
}
