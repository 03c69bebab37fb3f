// Numbers near their ends, all priority levels at once, and a million messages that are not due.
import postgres from 'postgres'
import { defineQueue } from '../../dist/esm/index.js'

export default async function numbers({ url, dueq, step, round }) {
  const sql = postgres(url, { max: 1, onnotice: () => {} })
  await dueq.ensure(['one', 'levels', 'million'].map((name) => defineQueue(name)))
  const one = dueq.queue('one')
  const median = async (queue) => {
    const times = []
    for (let i = 0; i < 300; i++) {
      const start = performance.now()
      await queue.dequeue()
      times.push(performance.now() - start)
    }
    return `median ${round(times.toSorted((a, b) => a - b)[150])} ms`
  }

  await step('dequeue, nothing there, one level', 300, () => median(one))
  const levels = dueq.queue('levels')
  await levels.enqueueMany(Array.from({ length: 201 }, (_, n) => ({ payload: n, priority: n - 100, delay: '1h' })))
  await step('dequeue, nothing ready, 201 levels', 300, () => median(levels))
  await step('a million delayed messages', 1_000_000, async () => {
    await sql`select count(*) from dueq.enqueue_many('million', array(select to_jsonb(n) from generate_series(1, 1000000) n), delays => array(select make_interval(hours => 1, secs => n) from generate_series(1, 1000000) n))`
  })
  await step('dequeue beside them, nothing ready', 300, () => median(dueq.queue('million')))
  await step('enqueue, dequeue and ack beside them', 300, async () => {
    for (let i = 0; i < 300; i++) {
      await dueq.queue('million').enqueue(i)
      for (const message of await dueq.queue('million').dequeue()) await message.ack()
    }
  })
  await step('stats() over them', 1_000_000, () => dueq.stats())
  await step('doctor() over them', 1_000_000, () => dueq.doctor())
  await step('attempt 2^31 - 1', 1, async () => {
    const { id } = await one.enqueue('worn')
    await sql`update dueq.messages set attempt = 2147483646 where id = ${id}`
    const [message] = await one.dequeue()
    const { attempt } = message
    await message.release()
    return `attempt ${attempt} works; ${await one.dequeue().then(
      (messages) => `then ${messages.length} messages`,
      (error) => `the next one: ${error.code} ${error.message}`,
    )}`
  })
  await sql`delete from dueq.messages where attempt > 1000000`
  await step('id 2^63 - 2', 1, async () => {
    await sql`select setval('dueq.messages_id_seq', 9223372036854775805)`
    const ids = []
    for (const n of [1, 2, 3])
      ids.push(
        await one.enqueue(n).then(
          ({ id }) => id,
          (error) => `${error.code}: ${error.message}`,
        ),
      )
    const messages = await one.dequeue({ max: 10 })
    for (const message of messages) await message.ack()
    return `${ids.join(', ')}; ${messages.length} acked`
  })
  await sql.end()
}
