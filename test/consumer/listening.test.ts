import { setTimeout as delay } from 'node:timers/promises'
import postgres from 'postgres'
import { expect, it } from 'vitest'
import { itListens, startClient } from '../client/client.js'

itListens('one connection listens for all queues of a client', async () => {
  await using client = await startClient()
  const queues = await Promise.all(Array.from({ length: 5 }, () => client.queue({ pollInterval: '1h' })))
  const handled: string[] = []
  const consumers = queues.map((queue) => queue.consume((message) => void handled.push(message.queue)))
  await client.event('listen.up')
  await expect.poll(() => client.dueq.check()).toMatchObject({ isListening: true })
  const listeners = await client.sql`
    select pid from pg_stat_activity
     where query ilike ${`listen%${client.schema}%`} and application_name like 'dueq%'`
  expect(listeners).toHaveLength(1)
  await Promise.all(queues.map((queue) => queue.enqueue({})))
  await expect.poll(() => [...handled].sort()).toEqual(queues.map((queue) => queue.name).sort())
  await Promise.all(consumers.map((consumer) => consumer.stop()))
})

it('promise 6: where LISTEN hears nothing, one event says so, and deliveries go on by polling', async () => {
  await using client = await startClient()
  const database = `${client.schema}_elsewhere`
  await client.sql.unsafe(`create database ${database}`)
  const elsewhere = Object.assign(new URL(client.url), { pathname: `/${database}` }).href
  try {
    const events: string[] = []
    const deaf = client.another({ listenUrl: elsewhere, onEvent: (event) => events.push(event.type) })
    const { name } = await client.queue({ pollInterval: '200ms' })
    const queue = deaf.queue(name)
    let handledCount = 0
    await using _consumer = queue.consume(() => void handledCount++)
    await expect.poll(() => events, { timeout: 6_000 }).toContain('listen.silent')
    expect(await deaf.check()).toMatchObject({ isListening: false })
    await queue.enqueue({})
    await expect.poll(() => handledCount).toBe(1)
    await using _second = queue.consume(() => {})
    await delay(500)
    expect(events.filter((type) => type.startsWith('listen.'))).toEqual(['listen.silent'])
    await deaf.close()
  } finally {
    const sql = postgres(client.url, { max: 1, onnotice: () => {} })
    await sql.unsafe(`drop database ${database} with (force)`)
    await sql.end()
  }
})

itListens('a consumer started again after the last one stopped listens again', async () => {
  await using client = await startClient()
  const queue = await client.queue({ pollInterval: '1h' })
  for (let round = 1; round <= 3; round++) {
    let handledCount = 0
    const consumer = queue.consume(() => void handledCount++)
    await expect.poll(() => client.dueq.check()).toMatchObject({ isListening: true })
    await delay(round === 1 ? 600 : 0)
    await queue.enqueue({})
    await expect.poll(() => handledCount).toBe(1)
    await consumer.stop()
  }
})
