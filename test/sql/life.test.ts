import { afterAll, beforeAll, expect, it } from 'vitest'
import { type Engine, startEngine } from './engine.js'

let engine: Engine
beforeAll(async () => {
  engine = await startEngine()
})
afterAll(() => engine.close())

const liveCount = (queue: string) =>
  engine.value<string>('select count(*) from dueq.message_states where queue = $1', [queue])

it('promise 2: a message is handed out with what was enqueued, and once acked never again', async () => {
  const queue = await engine.queue(`lease => '1 minute'`)
  const id = await engine.value(
    `select id from dueq.enqueue($1, '{"to": [7, null]}', headers => '{"trace": "abc"}', priority => -3)`,
    [queue],
  )
  await engine.travel('2 seconds')
  const rows = await engine.rows(
    `select id, attempt, payload, headers, priority, lateness::text, (lease_ends_at - dueq.clock())::text as lease,
            due_at = enqueued_at as "isDueAtOnce", failures, lapses
       from dueq.dequeue($1)`,
    [queue],
  )
  expect(rows).toEqual([
    {
      id,
      attempt: 1,
      payload: { to: [7, null] },
      headers: { trace: 'abc' },
      priority: -3,
      lateness: '00:00:02',
      lease: '00:01:00',
      isDueAtOnce: true,
      failures: 0,
      lapses: 0,
    },
  ])
  expect(await engine.value<boolean>('select dueq.ack($1, 1)', [id])).toBe(true)
  await engine.travel('1 day')
  expect(await engine.dequeue(queue)).toEqual([])
  expect(await liveCount(queue)).toBe('0')
})

it('promise 2: a message that is not acked comes again, until it is', async () => {
  const queue = await engine.queue(`lease => '1 minute'`)
  const id = await engine.enqueue(queue)
  for (const attempt of [1, 2, 3]) {
    expect(await engine.dequeue(queue)).toEqual([{ id, attempt }])
    await engine.travel('1 minute')
  }
  expect(await engine.dequeue(queue)).toEqual([{ id, attempt: 4 }])
  expect(await engine.value<boolean>('select dueq.ack($1, 4)', [id])).toBe(true)
  await engine.travel('1 minute')
  expect(await engine.dequeue(queue)).toEqual([])
})

it('promise 2: JSON null is a payload, SQL null is not', async () => {
  const queue = await engine.queue()
  await engine.rows(`select id from dueq.enqueue($1, 'null')`, [queue])
  expect(await engine.rows('select payload from dueq.dequeue($1)', [queue])).toEqual([{ payload: null }])
  expect(await engine.sqlstate('select id from dueq.enqueue($1, null)', [queue])).toBe('DQ002')
})

it('promise 2: a dead letter keeps everything, and redrive makes it a message again, with a fresh budget', async () => {
  const queue = await engine.queue()
  const id = await engine.enqueue(queue, `headers => '{"a": 1}', dedup_key => 'k', priority => 4`)
  await engine.dequeue(queue)
  expect(await engine.value<boolean>(`select dueq.dead_letter($1, 1, 'unpayable', 'no such account')`, [id])).toBe(true)
  expect(await engine.dequeue(queue)).toEqual([])
  expect(
    await engine.rows(
      `select id, queue, reason, last_error, attempt, failures, lapses, priority, dedup_key, headers, payload
         from dueq.dead_messages where queue = $1`,
      [queue],
    ),
  ).toEqual([
    {
      id,
      queue,
      reason: 'unpayable',
      last_error: 'no such account',
      attempt: 1,
      failures: 1,
      lapses: 0,
      priority: 4,
      dedup_key: 'k',
      headers: { a: 1 },
      payload: { to: 7 },
    },
  ])

  await engine.travel('1 hour')
  const [redriven] = await engine.rows('select dead_id, id from dueq.redrive($1)', [queue])
  expect(redriven).toMatchObject({ dead_id: id })
  expect(await engine.value('select count(*) from dueq.dead_messages where queue = $1', [queue])).toBe('0')
  expect(
    await engine.rows('select id, attempt, failures, headers, priority, lateness::text from dueq.dequeue($1)', [queue]),
  ).toEqual([{ id: redriven!['id'], attempt: 1, failures: 0, headers: { a: 1 }, priority: 4, lateness: '00:00:00' }])
})

it('promise 2: dead_letter wants a reason', async () => {
  const queue = await engine.queue()
  const id = await engine.enqueue(queue)
  await engine.dequeue(queue)
  for (const reason of [null, '', 'x'.repeat(1001)]) {
    expect(await engine.sqlstate('select dueq.dead_letter($1, 1, $2)', [id, reason])).toBe('DQ002')
  }
  expect(await engine.value<boolean>(`select dueq.dead_letter($1, 1, 'r')`, [id])).toBe(true)
})

it('promise 2: nothing of a queue reaches another', async () => {
  const [a, b] = [await engine.queue(), await engine.queue()]
  await engine.enqueue(a)
  expect(await engine.dequeue(b)).toEqual([])
  expect(await liveCount(b)).toBe('0')
  expect(await engine.dequeue(a)).toHaveLength(1)
})
