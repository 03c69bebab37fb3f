// A claim is taken whole by its consumer, so it is bounded in bytes, not only in messages.
import { afterAll, beforeAll, expect, it } from 'vitest'
import { startClient, type TestClient } from '../client/client.js'

const megabyte = 'x'.repeat(1_000_000)

let test: TestClient
beforeAll(async () => {
  test = await startClient()
  // So that a payload takes the room that it would take if it did not compress.
  await test.sql.unsafe(`alter table ${test.schema}.messages alter column payload set storage external`)
})
afterAll(() => test.close())

it('a claim gives 16 MB of JSON at most, in order, and says that there is more now', async () => {
  const queue = await test.queue<string>()
  const enqueued = await queue.enqueueMany(new Array(20).fill({ payload: megabyte }))
  const rows = await test.sql.unsafe(
    `select id::text, next_ready_at <= polled_at as is_more from ${test.schema}.poll('${queue.name}', 100)`,
  )
  expect(rows.at(-1)!['is_more']).toBe(true)
  const first: string[] = rows.slice(0, -1).map((row) => row['id'])
  const second = (await queue.dequeue({ max: 100 })).map(({ id }) => id)
  expect([first.length, second.length]).toEqual([16, 4])
  expect([...first, ...second]).toEqual(enqueued.map(({ id }) => id))
  expect(await queue.dequeue({ max: 100 })).toEqual([])
})

it('large payloads of one priority level keep those of the next for another claim', async () => {
  const queue = await test.queue<string>()
  const item = (priority: number) => ({ payload: megabyte, priority })
  await queue.enqueueMany([3, 1, 2].flatMap((priority) => new Array(7).fill(item(priority))))
  const claims: number[][] = []
  for (let i = 0; i < 3; i++) claims.push((await queue.dequeue({ max: 100 })).map(({ priority }) => priority))
  expect(claims).toEqual([1, 2, 3].map((priority) => new Array(7).fill(priority)))
})

it('a claim gives one message however large it is', async () => {
  const queue = await test.queue<string>()
  // A table may hold what enqueue refuses.
  await test.sql.unsafe(`
    insert into ${test.schema}.messages (queue_id, ready_at, due_at, enqueued_at, payload)
    select q.id, now(), now(), now(), (select to_jsonb(repeat('x', 17000000)))
      from ${test.schema}.queues q cross join generate_series(1, 2) where q.name = '${queue.name}'`)
  expect(await queue.dequeue({ max: 10 })).toHaveLength(1)
  expect(await queue.dequeue({ max: 10 })).toHaveLength(1)
})

it('the consumer of a queue of large messages gets them all', async () => {
  const queue = await test.queue<string>()
  await queue.enqueueMany(new Array(20).fill({ payload: megabyte }))
  const seen = new Set<string>()
  await new Promise<void>((resolve) => {
    queue.consume(({ id }) => void (seen.add(id).size === 20 && resolve()), { concurrency: 100 })
  })
  expect(seen.size).toBe(20)
})
