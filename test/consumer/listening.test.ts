import { setTimeout as delay } from 'node:timers/promises'
import { expect, it } from 'vitest'
import { itListens, startClient, type TestClient } from '../client/client.js'

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

it.concurrent('promise 6: where LISTEN hears nothing, one event says so, and deliveries go on by polling', async ({
  expect,
}) => {
  await using client = await startClient()
  await using elsewhere = await otherDatabase(client)
  const events: string[] = []
  const deaf = client.another({ listenUrl: elsewhere.url, onEvent: (event) => events.push(event.type) })
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
})

it.concurrent('a client whose consumers come and go says once that LISTEN hears nothing', {
  timeout: 40_000,
}, async ({ expect }) => {
  await using client = await startClient()
  await using elsewhere = await otherDatabase(client)
  const events: string[] = []
  const deaf = client.another({ listenUrl: elsewhere.url, onEvent: (event) => events.push(event.type) })
  const { name } = await client.queue({ pollInterval: '200ms' })
  for (let round = 0; round < 2; round++) {
    const consumer = deaf.queue(name).consume(() => {})
    await expect.poll(elsewhere.sessionCount, { timeout: 8_000 }).toBe(1)
    // The connection that heard nothing is given up.
    await expect.poll(elsewhere.sessionCount, { timeout: 8_000 }).toBe(0)
    await consumer.stop()
    if (round === 0) await delay(5_500) // what listens outlives its last consumer by 5 s
  }
  expect(events.filter((type) => type.startsWith('listen.'))).toEqual(['listen.silent'])
  await deaf.close()
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

/** A database of the same server in which nobody notifies: LISTEN works there, and hears nothing. */
async function otherDatabase({ sql, schema, url }: TestClient) {
  const name = `${schema}_elsewhere`
  await sql.unsafe(`create database ${name}`)
  return {
    url: Object.assign(new URL(url), { pathname: `/${name}` }).href,
    sessionCount: async () => (await sql`select pid from pg_stat_activity where datname = ${name}`).length,
    [Symbol.asyncDispose]: async () => void (await sql.unsafe(`drop database ${name} with (force)`)),
  }
}
