import { afterAll, beforeAll, expect, it } from 'vitest'
import { startClient, type TestClient } from '../client/client.js'
import { startRole } from '../support/role.js'

let client: TestClient
beforeAll(async () => {
  client = await startClient()
})
afterAll(() => client.close())

it('promise 6: a listener that is not let in again is reported with the reason, and deliveries go on by polling', async () => {
  const lost: string[] = []
  await using role = await startRole(client)
  const dueq = client.anotherByUrl({
    listenUrl: role.url,
    onEvent: (event) => event.type === 'listen.lost' && lost.push(event.error.code),
  })
  const { name } = await client.queue({ pollInterval: '200ms' })
  let handledCount = 0
  await using consumer = dueq.queue(name).consume(() => void handledCount++)
  await expect.poll(() => dueq.check(), { timeout: 5_000 }).toMatchObject({ isListening: true })
  await role.alter('nologin')
  await role.disconnect()
  await expect.poll(() => lost, { timeout: 5_000 }).toEqual(['database.unreachable', 'database.credentials'])
  expect(await dueq.check()).toMatchObject({ isListening: false })
  await dueq.queue(name).enqueue({})
  await expect.poll(() => handledCount).toBe(1)
  await role.alter('login')
  await expect.poll(() => dueq.check(), { timeout: 5_000 }).toMatchObject({ isListening: true })
  expect(consumer.status.state).toBe('running')
})
