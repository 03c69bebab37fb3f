import { afterAll, beforeAll, expect, it } from 'vitest'
import { startClient, type TestClient } from '../client/client.js'

const empty = { delayed: 0, ready: 0, leased: 0, lapsed: 0 }

let client: TestClient
beforeAll(async () => {
  client = await startClient()
  await client.sql`create table ${client.sql(client.schema)}.own_writes (message bigint, attempt integer)`
})
afterAll(() => client.close())

const writes = (id: string) =>
  client.sql`select attempt from ${client.sql(client.schema)}.own_writes where message = ${id}`.then((rows) =>
    rows.map((row) => row['attempt']),
  )

it('promise 4: own writes and the ack commit together', async () => {
  const queue = await client.queue()
  await using _consumer = queue.consume((message) =>
    client.sql.begin(async (tx) => {
      await tx`insert into ${tx(client.schema)}.own_writes values (${message.id}, ${message.attempt})`
      await message.in(tx).ack()
    }),
  )
  const { id } = await queue.enqueue({})
  await expect.poll(() => queue.stats()).toMatchObject(empty)
  expect(await writes(id)).toEqual([1])
})

it('promise 4: after a rollback neither the writes nor the ack happened, and the message is retried by the back-off', async () => {
  const queue = await client.queue({ backoff: { base: '20ms', max: '20ms' } })
  await using _consumer = queue.consume((message) =>
    client.sql.begin(async (tx) => {
      await tx`insert into ${tx(client.schema)}.own_writes values (${message.id}, ${message.attempt})`
      await message.in(tx).ack()
      if (message.attempt < 3) throw new Error('roll back')
    }),
  )
  const { id } = await queue.enqueue({})
  await expect.poll(() => queue.stats()).toMatchObject(empty)
  expect(await writes(id)).toEqual([3])
  const outcomes = client.events.flatMap((event) =>
    event.type === 'message.failed' && event.id === id ? [event.outcome] : [],
  )
  expect(outcomes).toEqual(['retry', 'retry'])
})

it('promise 3: where the lease is lost, the ack in the transaction throws, which rolls the writes back', async () => {
  const queue = await client.queue()
  await using _consumer = queue.consume((message) =>
    client.sql.begin(async (tx) => {
      await tx`insert into ${tx(client.schema)}.own_writes values (${message.id}, ${message.attempt})`
      if (message.attempt === 1) {
        const table = client.sql(client.schema)
        // One transaction, so that no claim of the consumer comes between.
        await client.sql.begin(async (other) => {
          await other`update ${table}.messages set ready_at = clock_timestamp() where id = ${message.id}`
          await other`select ${table}.release(id, attempt) from ${table}.poll(${queue.name}) where id is not null`
        })
      }
      await message.in(tx).ack()
    }),
  )
  const { id } = await queue.enqueue({})
  await expect.poll(() => queue.stats()).toMatchObject(empty)
  expect(await writes(id)).toEqual([3])
})
