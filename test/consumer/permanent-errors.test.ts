import { afterAll, beforeAll, expect, it } from 'vitest'
import type { ConnectOptions } from '../../src/index.js'
import { codeOf, startClient, type TestClient } from '../client/client.js'

let client: TestClient
beforeAll(async () => {
  client = await startClient()
})
afterAll(() => client.close())

it('`stopped` rejects where the queue does not exist', async () => {
  const consumer = client.dueq.queue('nowhere').consume(() => {})
  expect(await codeOf(consumer.stopped)).toBe('queue.unknown')
  expect(consumer.status.state).toBe('failed')
  expect(await consumer.stop()).toEqual({ finished: 0, released: 0, stillRunning: 0 })
  expect(await client.event('consumer.error')).toMatchObject({ queue: 'nowhere', retryMs: Number.POSITIVE_INFINITY })
})

it('`stopped` rejects where the queue is dropped while the consumer runs', async () => {
  const queue = await client.queue({ pollInterval: '100ms' })
  const consumer = queue.consume(() => {})
  await expect.poll(() => consumer.status.lastClaimAt).not.toBeNull()
  await queue.drop()
  expect(await codeOf(consumer.stopped)).toBe('queue.unknown')
})

it.each<[string, () => ConnectOptions]>([
  ['database.credentials', () => ({ url: Object.assign(new URL(client.url), { password: 'wrong' }).href })],
  ['database.not_found', () => ({ url: Object.assign(new URL(client.url), { pathname: '/no_such_database' }).href })],
  ['schema.missing', () => ({ schema: 'no_such_schema' })],
])('`stopped` rejects with %s', async (code, options) => {
  const dueq = client.another(options())
  const consumer = dueq.queue('any').consume(() => {})
  expect(await codeOf(consumer.stopped)).toBe(code)
  await dueq.close()
})

it('`stopped` rejects where the schema is newer than this version of dueq', async () => {
  await using newer = await startClient()
  await newer.sql.unsafe(`
    create or replace function ${newer.schema}.schema_version() returns integer language sql immutable as 'select 999'`)
  const consumer = newer
    .another()
    .queue('any')
    .consume(() => {})
  expect(await codeOf(consumer.stopped)).toBe('schema.newer')
})

it('a permanent error lets the handlers under way finish', async () => {
  const queue = await client.queue({ pollInterval: '100ms' })
  await queue.enqueue({})
  let end = (): void => {}
  const consumer = queue.consume(() => new Promise<void>((resolve) => (end = resolve)))
  await expect.poll(() => consumer.status.running).toBe(1)
  const table = client.sql(client.schema)
  await client.sql`update ${table}.queues set name = 'renamed' where name = ${queue.name}`
  await expect.poll(() => consumer.status.state).toBe('failed')
  end()
  expect(await codeOf(consumer.stopped)).toBe('queue.unknown')
  const [row] = await client.sql`
    select count(*)::int as left from ${table}.messages
     where queue_id = (select id from ${table}.queues where name = 'renamed')`
  expect(row).toEqual({ left: 0 })
})
