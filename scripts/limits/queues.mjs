// 10,000 queues in one schema.
import { execFile } from 'node:child_process'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { defineQueue, migrate } from '../../dist/esm/index.js'

const count = 10_000
const main = join(import.meta.dirname, '../../dist/esm/cli/main.js')

export default async function queues({ url, dueq, step, round }) {
  const definitions = Array.from({ length: count }, (_, i) => defineQueue(`queue-${i}`, { maxAttempts: 5 }))
  const command = (...args) =>
    promisify(execFile)(process.execPath, [main, ...args, '--url', url], { maxBuffer: 1e9 }).catch((error) => error)

  await step('ensure, all new', count, () => dueq.ensure(definitions))
  await step('ensure, all there', count, () => dueq.ensure(definitions))
  await step('enqueue one to each, 100 callers', count, async () => {
    let next = 0
    const caller = async () => {
      while (next < count) await dueq.queue(definitions[next++]).enqueue({ n: next })
    }
    await Promise.all(Array.from({ length: 100 }, caller))
  })
  await step('stats()', count, async () => `${(await dueq.stats()).length} rows`)
  await step('stats() of one queue', 1, () => dueq.queue('queue-5000').stats())
  await step('doctor()', count, async () => {
    const details = (await dueq.doctor()).map(({ check, detail }) => [detail.length, check])
    const [length, check] = details.sort((a, b) => b[0] - a[0])[0]
    return `the longest detail has ${length} characters (${check})`
  })
  await step('dueq stats', count, async () => `${(await command('stats')).stdout.length} characters`)
  await step('dueq doctor', count, async () => `${(await command('doctor')).stdout.length} characters`)
  await step('migrate again', count, () => migrate({ url, schema: 'dueq' }))
  await step('dequeue from one of them, 1,000 times', 1000, async () => {
    const queue = dueq.queue('queue-5000')
    const times = []
    for (let i = 0; i < 1000; i++) {
      const start = performance.now()
      await queue.dequeue()
      times.push(performance.now() - start)
    }
    return `median ${round(times.sort((a, b) => a - b)[500])} ms`
  })
}
