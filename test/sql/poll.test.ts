import { afterAll, beforeAll, expect, it } from 'vitest'
import { type Engine, startEngine } from './engine.js'

let engine: Engine
beforeAll(async () => {
  engine = await startEngine()
})
afterAll(() => engine.close())

type Summary = { readonly messages: number; readonly next: string | null }

/** Polls, checks that the summary is the last row and the only one without an id, and tells how far off the next look is. */
async function poll(queue: string, max = 10): Promise<Summary> {
  const rows = await engine.rows<{ id: string | null; next: string | null; polled: boolean | null }>(
    `select id, (next_ready_at - polled_at)::text as next, polled_at = dueq.clock() as polled
       from dueq.poll($1, $2)`,
    [queue, max],
  )
  const summary = rows.pop()!
  expect(summary).toMatchObject({ id: null, polled: true })
  for (const row of rows) expect(row).toEqual({ id: expect.any(String), next: null, polled: null })
  return { messages: rows.length, next: summary.next }
}

it('promise 6d: poll of an empty queue has nothing to wait for', async () => {
  expect(await poll(await engine.queue())).toEqual({ messages: 0, next: null })
})

it('promise 6d: poll says when the next message will be ready, over all levels', async () => {
  const queue = await engine.queue()
  await engine.enqueue(queue, `delay => '3 minutes'`)
  await engine.enqueue(queue, `delay => '2 minutes', priority => 5`)
  await engine.enqueue(queue, `delay => '1 day', priority => -5`)
  expect(await poll(queue)).toEqual({ messages: 0, next: '00:02:00' })
})

it('promise 6d: the end of a lease is such an instant, that of the messages just claimed too', async () => {
  const queue = await engine.queue(`lease => '1 minute'`)
  await engine.enqueue(queue)
  await engine.enqueue(queue, `delay => '1 hour'`)
  expect(await poll(queue)).toEqual({ messages: 1, next: '00:01:00' })
  await engine.travel('20 seconds')
  expect(await poll(queue)).toEqual({ messages: 0, next: '00:00:40' })
})

it('promise 6d: a full batch says that there may be more right now', async () => {
  const queue = await engine.queue(`lease => '1 minute'`)
  for (let i = 0; i < 4; i++) await engine.enqueue(queue)
  expect(await poll(queue, 2)).toEqual({ messages: 2, next: '00:00:00' })
  expect(await poll(queue, 2)).toEqual({ messages: 2, next: '00:00:00' })
  expect(await poll(queue, 2)).toEqual({ messages: 0, next: '00:01:00' })
})

it('promise 6d: a batch cut short in front of a message that is claimed alone says the same', async () => {
  const queue = await engine.queue(`lease => '1 minute'`)
  await engine.enqueue(queue)
  await engine.dequeue(queue)
  await engine.enqueue(queue, `delay => '30 seconds'`)
  await engine.travel('1 minute')
  expect(await poll(queue)).toEqual({ messages: 1, next: '00:00:00' })
  expect(await poll(queue)).toEqual({ messages: 1, next: '00:00:00' })
  expect(await poll(queue)).toEqual({ messages: 0, next: '00:01:00' })
})

it('promise 6d: so does a poll that found only messages for the dead letters', async () => {
  const queue = await engine.queue(`lease => '1 minute', max_attempts => 1`)
  await engine.enqueue(queue)
  await engine.dequeue(queue)
  await engine.travel('1 minute')
  expect(await poll(queue)).toEqual({ messages: 0, next: '00:00:00' })
  expect(await poll(queue)).toEqual({ messages: 0, next: null })
})

it('promise 6d: poll tells the consumer the longest it may sleep', async () => {
  const queue = await engine.queue(`poll_interval => '42 seconds'`)
  expect(await engine.rows('select poll_interval::text from dueq.poll($1)', [queue])).toEqual([
    { poll_interval: '00:00:42' },
  ])
})

it('promise 6d: the lease carries the name of its consumer, or of its session', async () => {
  const queue = await engine.queue()
  const [named, unnamed] = [await engine.enqueue(queue), await engine.enqueue(queue)]
  await engine.rows(`select id from dueq.poll($1, consumer => 'host-1/42')`, [queue])
  await engine.rows('select id from dueq.poll($1)', [queue])
  expect(
    await engine.rows('select id, leased_by from dueq.message_states where queue = $1 order by id', [queue]),
  ).toEqual([
    { id: named, leased_by: 'host-1/42' },
    { id: unnamed, leased_by: `pid ${engine.pid}` },
  ])
})
