// Payloads at the limit of 1 MB, in each form, and many of them in one consumer.
import { defineQueue } from '../../dist/esm/index.js'

const limit = 1_048_576

export default async function payloads({ dueq, step, pause }) {
  const large = defineQueue('large', { lease: '2m' })
  await dueq.ensure([large, defineQueue('mixed', { lease: '2m' })])
  const queue = dueq.queue(large)
  const there = (payload) => async () => {
    await queue.enqueue(payload)
    const [message] = await queue.dequeue()
    await message.ack()
    return JSON.stringify(message.payload) === JSON.stringify(payload) ? 'came back the same' : 'CAME BACK CHANGED'
  }

  await step('ASCII', limit, there('x'.repeat(limit - 2)))
  await step('ASCII', limit + 1, there('x'.repeat(limit - 1)))
  await step('characters of 4 bytes', limit, there('😀'.repeat((limit - 2) / 4 - 1)))
  await step('characters of 4 bytes', limit + 2, there('😀'.repeat(limit / 4)))
  await step('escapes (quotes)', limit, there('"'.repeat((limit - 2) / 2)))
  await step('escapes (\\u0001)', limit, there('\u0001'.repeat(Math.floor((limit - 2) / 6))))
  await step('numbers', limit, there(new Array(limit / 2 - 1).fill(1)))
  await step('property names', limit, there(Object.fromEntries(Array.from({ length: 80_000 }, (_, i) => [`k${i}`, i]))))
  await step('numbers that jsonb writes out (1e308)', 150_000, there(new Array(25_000).fill(1e308)))
  for (const depth of [1000, 3000, 5000, 10_000, 100_000]) await step('nested arrays', depth, there(nested(depth)))

  // Text that does not compress, like most large payloads.
  const random = Array.from({ length: 90_000 }, () => Math.random().toString(36).slice(2))
    .join('')
    .slice(0, 1_000_000)
  for (const concurrency of [10, 1000]) {
    await queue.enqueueMany(many(300, random))
    await consume(step, queue, concurrency, 300, '1 MB payloads')
  }
  const mixed = dueq.queue('mixed')
  for (const [name, text] of Object.entries({ random, compressible: 'x'.repeat(1_000_000) })) {
    await mixed.enqueueMany(Array.from({ length: 20_000 }, (_, n) => ({ payload: n, priority: -1 })))
    await mixed.enqueueMany(many(300, text))
    await consume(step, mixed, 10, 20_300, `20,000 small, then 1 MB (${name})`)
  }
  await pause(0)
}

async function consume(step, queue, concurrency, count, name) {
  await step(`${name}, concurrency ${concurrency}`, count, async () => {
    let seen = 0
    let peak = 0
    const sample = setInterval(() => (peak = Math.max(peak, process.memoryUsage().rss)), 20)
    const consumer = queue.consume(() => void seen++, { concurrency })
    while (seen < count && consumer.status.state === 'running') await new Promise((resolve) => setTimeout(resolve, 20))
    clearInterval(sample)
    await consumer.stop()
    return `${seen} seen, ${Math.round(peak / 1e6)} MB at most`
  })
}

async function* many(count, text) {
  for (let n = 0; n < count; n++) yield { payload: `${n}${text}` }
}

function nested(depth) {
  let value = 1
  for (let i = 0; i < depth; i++) value = [value]
  return value
}
