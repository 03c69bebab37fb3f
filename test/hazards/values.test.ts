// postgres.js 3.4.9 loses or refuses values that dueq has to carry. dueq sends and reads text with a cast in the statement, so
// none of this depends on the driver or on how the user has configured it (docs/adr/0011). Where a naive test fails the driver
// is cured of that; the reasons of the ADR beside it stand.
import postgres from 'postgres'
import { afterAll, beforeAll, expect, it } from 'vitest'
import { codeOf, startClient, type TestClient } from '../client/client.js'

let client: TestClient
let sql: postgres.Sql
beforeAll(async () => {
  client = await startClient()
  sql = postgres(client.url, { max: 1, fetch_types: false, onnotice: () => {} })
})
afterAll(async () => {
  await sql.end({ timeout: 1 })
  await client.close()
})

const instant = '2027-01-31T09:00:00.123456Z'
const stored = (id: string) => client.sql`
  select due_at = ${instant}::text::timestamptz as "isExact" from ${client.sql(client.schema)}.messages where id = ${id}`

it('naive: without the types of the server an array does not arrive', async () => {
  await expect(sql`select ${sql.array(['a', 'b'])}::text[]`).rejects.toThrow(/malformed array literal/)
})

it('naive: an array of Date is sent as one Date', async () => {
  await expect(client.sql`select ${[new Date(0), new Date(1)]}::timestamptz[]`).rejects.toThrow()
  expect(await codeOf(client.sql`select ${[new Date(0)]}::timestamptz[]`)).toBe('42846')
})

it('naive: an instant that comes back as a Date has lost its microseconds', async () => {
  const [row] = await sql`select ${instant}::text::timestamptz as at`
  const [same] = await sql`select ${row!['at'] as Date} = ${instant}::text::timestamptz as "isSame"`
  expect(same).toEqual({ isSame: false })
})

it('batches, Dates and microseconds arrive, also on an instance that knows no types', async () => {
  const { name } = await client.queue()
  const queue = client.another({ sql }).queue(name)
  const [first, exact] = await queue.enqueueMany([
    { payload: 'a', at: new Date(0), dedupKey: 'x,"y"' },
    { payload: ['b', 'c'], at: instant },
    { payload: 'd', delay: '1h' },
  ])
  expect(await stored(exact!.id)).toEqual([{ isExact: true }])
  const [message] = await queue.dequeue({ max: 10 })
  expect(message).toMatchObject({ id: first!.id, payload: 'a', dueAt: new Date(0) })
  await message!.ack()
})

it('an instant with microseconds goes through a delivery and back into SQL unchanged', async () => {
  const { name } = await client.queue()
  const queue = client.another({ sql }).queue(name)
  const { id } = await queue.enqueue({}, { at: '2027-01-31T10:00:00.123456+01:00' })
  expect(await stored(id)).toEqual([{ isExact: true }])
  await client.another({ sql }).reschedule(id, { at: instant })
  expect(await stored(id)).toEqual([{ isExact: true }])
})
