// A claim is taken whole by its consumer, so it is bounded in bytes, not only in messages.
import { expect, it } from 'vitest'
import { startClient } from '../client/client.js'

const megabyte = 1_000_000

it('a claim gives 16 MB of JSON at most, in order, and says that there is more now', async () => {
  await using test = await startClient({ listen: false })
  const queue = await test.queue<string>()
  const text = pseudoRandom(megabyte)
  const ids: string[] = []
  for (let i = 0; i < 4; i++)
    ids.push(...(await queue.enqueueMany(new Array(10).fill({ payload: text }))).map(({ id }) => id))
  const rows = await test.sql.unsafe(
    `select id::text, next_ready_at <= polled_at as is_more from ${test.schema}.poll('${queue.name}', 100)`,
  )
  expect(rows.at(-1)!['is_more']).toBe(true)
  const claims: string[][] = [rows.slice(0, -1).map((row) => row['id'])]
  while (claims.at(-1)!.length > 0) claims.push((await queue.dequeue({ max: 100 })).map(({ id }) => id))
  expect(claims.map(({ length }) => length)).toEqual([16, 16, 8, 0])
  expect(claims.flat()).toEqual(ids)
})

it('a claim gives one message however large it is', async () => {
  await using test = await startClient({ listen: false })
  const queue = await test.queue<string>()
  // 17 MB each: a table may hold what enqueue refuses.
  await test.sql.unsafe(`
    insert into ${test.schema}.messages (queue_id, ready_at, due_at, enqueued_at, payload)
    select q.id, now(), now(), now(), (select to_jsonb(string_agg(md5(n::text), '')) from generate_series(1, 540000) n)
      from ${test.schema}.queues q cross join generate_series(1, 2) where q.name = '${queue.name}'`)
  expect(await queue.dequeue({ max: 10 })).toHaveLength(1)
  expect(await queue.dequeue({ max: 10 })).toHaveLength(1)
})

it('the consumer of a queue of large messages gets them all', async () => {
  await using test = await startClient()
  const queue = await test.queue<string>()
  const text = pseudoRandom(megabyte)
  for (let i = 0; i < 4; i++) await queue.enqueueMany(new Array(10).fill({ payload: text }))
  let seen = 0
  await new Promise<void>((resolve) => {
    queue.consume(() => void (++seen === 40 && resolve()), { concurrency: 100 })
  })
  expect(seen).toBe(40)
})

/** Text that does not compress. */
function pseudoRandom(length: number): string {
  let state = 1
  let text = ''
  while (text.length < length) {
    state = (state * 48_271) % 2_147_483_647
    text += state.toString(36)
  }
  return text.slice(0, length)
}
