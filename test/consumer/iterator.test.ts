import { setTimeout as delay } from 'node:timers/promises'
import { afterAll, beforeAll, expect, it } from 'vitest'
import { codeOf, startClient, type TestClient } from '../client/client.js'

let client: TestClient
beforeAll(async () => {
  client = await startClient()
})
afterAll(() => client.close())

const empty = { delayed: 0, ready: 0, leased: 0, lapsed: 0 }

it('asking for the next message acks the one before; they come in order, one at a time', async () => {
  const queue = await client.queue<number>()
  await queue.enqueueMany([1, 2, 3].map((payload) => ({ payload })))
  const seen: number[] = []
  const controller = new AbortController()
  for await (const message of queue.messages({ signal: controller.signal })) {
    seen.push(message.payload)
    expect((await queue.stats()).leased).toBeLessThanOrEqual(2)
    if (message.payload === 3) controller.abort()
  }
  expect(seen).toEqual([1, 2, 3])
  expect(await queue.stats()).toMatchObject({ ...empty, dead: 0 })
})

it.each<[string, () => void]>([
  ['break', () => {}],
  [
    'throw',
    () => {
      throw new Error('out')
    },
  ],
])('leaving the loop by %s nacks the message in the body', async (_, leave) => {
  const queue = await client.queue({ backoff: { base: '1h', max: '1h' } })
  const { id } = await queue.enqueue({})
  const loop = async (): Promise<void> => {
    for await (const _message of queue.messages()) {
      leave()
      break
    }
  }
  await loop().catch((error) => expect(error.message).toBe('out'))
  const [row] = await client.sql`
    select failures, leased_by from ${client.sql(client.schema)}.messages where id = ${id}`
  expect(row).toEqual({ failures: 1, leased_by: null })
})

it('a message settled in the body stays as it was settled', async () => {
  const queue = await client.queue<string>()
  await queue.enqueueMany(['release', 'ack'].map((payload) => ({ payload })))
  for await (const message of queue.messages()) {
    if (message.payload === 'release') await message.release({ delay: '1h' })
    else {
      await message.ack()
      break
    }
  }
  expect(await queue.stats()).toMatchObject({ ...empty, delayed: 1, dead: 0 })
})

it('an abort while the loop waits ends it at once, and close of the client does', async () => {
  const { name } = await client.queue({ pollInterval: '1h' })
  const dueq = client.another()
  const controller = new AbortController()
  const loops = [dueq.queue(name).messages({ signal: controller.signal }), dueq.queue(name).messages()].map(
    async (messages) => {
      for await (const message of messages) expect.unreachable(message.id)
    },
  )
  await delay(200)
  const start = performance.now()
  controller.abort()
  await loops[0]
  await dueq.close()
  await loops[1]
  expect(performance.now() - start).toBeLessThan(5_000)
})

it('a permanent error is thrown out of the loop', async () => {
  const loop = async (): Promise<void> => {
    for await (const message of client.dueq.queue('nowhere').messages()) expect.unreachable(message.id)
  }
  expect(await codeOf(loop())).toBe('queue.unknown')
})

it('a body that takes longer than the lease keeps it', async () => {
  const queue = await client.queue({ lease: '1s' })
  await queue.enqueue({})
  for await (const message of queue.messages()) {
    await delay(1_400)
    expect(message.signal.aborted).toBe(false)
    await message.ack()
    break
  }
  expect(await queue.stats()).toMatchObject({ ...empty, dead: 0 })
})
