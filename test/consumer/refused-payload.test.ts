import { afterAll, beforeAll, expect, it } from 'vitest'
import { z } from 'zod'
import { defineQueue } from '../../src/index.js'
import { startClient, type TestClient } from '../client/client.js'
import { closeSessions, openSession } from '../support/sessions.js'

let client: TestClient
beforeAll(async () => {
  client = await startClient()
})
afterAll(async () => {
  await closeSessions()
  await client.close()
})

it('a refused message that cannot be dead-lettered at once costs those behind it nothing', async () => {
  const { name, enqueueMany } = await client.queue({ lease: '1s', pollInterval: '100ms' })
  const holder = await openSession(client.url)
  const [refused, good] = await enqueueMany([{ payload: 'refused' }, { payload: 'good' }])
  const schema = z.string().refine(async (text) => {
    if (text === 'good') return true
    await holder.begin()
    await holder.query(`select from ${client.schema}.messages where id = ${refused!.id} for update`)
    return false
  })
  const attempts: number[] = []
  await using _consumer = client.dueq
    .queue(defineQueue(name, { payload: schema }))
    .consume(({ id, attempt }) => void (id === good!.id && attempts.push(attempt)), { concurrency: 2 })
  await expect.poll(() => attempts, { timeout: 10_000 }).toEqual([1])
  await holder.rollback()
})
