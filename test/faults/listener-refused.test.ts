import { randomBytes } from 'node:crypto'
import { afterAll, beforeAll, expect, it } from 'vitest'
import { startClient, type TestClient } from '../client/client.js'

const role = `dueq_test_${randomBytes(6).toString('hex')}`
let client: TestClient
beforeAll(async () => {
  client = await startClient()
  await client.sql.unsafe(`create role ${role} login password 'secret'`)
})
afterAll(async () => {
  await client.sql.unsafe(`drop role ${role}`)
  await client.close()
})

it('promise 6: a listener that is not let in again is reported with the reason, and deliveries go on by polling', async () => {
  const lost: string[] = []
  const listenUrl = Object.assign(new URL(client.url), { username: role, password: 'secret' }).href
  const dueq = client.anotherByUrl({
    listenUrl,
    onEvent: (event) => event.type === 'listen.lost' && lost.push(event.error.code),
  })
  const { name } = await client.queue({ pollInterval: '200ms' })
  let handledCount = 0
  await using consumer = dueq.queue(name).consume(() => void handledCount++)
  await expect.poll(() => dueq.check(), { timeout: 5_000 }).toMatchObject({ isListening: true })
  await client.sql.unsafe(`alter role ${role} nologin`)
  await client.sql`select pg_terminate_backend(pid) from pg_stat_activity where usename = ${role}`
  await expect.poll(() => lost, { timeout: 5_000 }).toEqual(['database.unreachable', 'database.credentials'])
  expect(await dueq.check()).toMatchObject({ isListening: false })
  await dueq.queue(name).enqueue({})
  await expect.poll(() => handledCount).toBe(1)
  await client.sql.unsafe(`alter role ${role} login`)
  await expect.poll(() => dueq.check(), { timeout: 5_000 }).toMatchObject({ isListening: true })
  expect(consumer.status.state).toBe('running')
})
