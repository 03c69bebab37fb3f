// No cure is to be expected here: a client that gave up waiting cannot know whether its statement was committed. What is
// enqueued again needs a dedup key.
import { afterAll, beforeAll, expect, it } from 'vitest'
import { codeOf, startClient, type TestClient } from '../client/client.js'
import { openSession } from '../support/sessions.js'

let client: TestClient
beforeAll(async () => {
  client = await startClient()
})
afterAll(() => client.close())

/** Enqueues while the server does not get on, gives up, lets it get on, and enqueues again. */
async function enqueueTwice(enqueue: () => Promise<unknown>) {
  await using holder = await openSession(client.url)
  await holder.begin()
  await holder.query(`lock table ${client.schema}.messages in exclusive mode`)
  const first = await codeOf(enqueue())
  await holder.commit()
  await expect.poll(() => client.messageCount()).toBeGreaterThan(0)
  return { first, second: await enqueue() }
}

it('naive: what is enqueued again after a deadline is there twice', async () => {
  const { name } = await client.queue()
  const dueq = client.another({ timeout: '500ms' })
  const { first } = await enqueueTwice(() => dueq.queue(name).enqueue({ order: 7 }))
  expect(first).toBe('timeout')
  expect(await client.dueq.queue(name).stats()).toMatchObject({ ready: 2 })
  await client.dueq.queue(name).purge()
})

it('with a dedup key the second enqueue finds the first', async () => {
  const { name } = await client.queue()
  const dueq = client.another({ timeout: '500ms' })
  const { first, second } = await enqueueTwice(() => dueq.queue(name).enqueue({ order: 7 }, { dedupKey: 'order 7' }))
  expect(first).toBe('timeout')
  expect(second).toMatchObject({ created: false })
  expect(await client.dueq.queue(name).stats()).toMatchObject({ ready: 1 })
})
