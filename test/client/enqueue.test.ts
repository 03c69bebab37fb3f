import { afterAll, beforeAll, expect, it } from 'vitest'
import type { Duration } from '../../src/index.js'
import { codeOf, startClient, type TestClient } from './client.js'

let test: TestClient
beforeAll(async () => {
  test = await startClient()
  await test.freeze()
})
afterAll(() => test.close())

const row = async (id: string) => {
  const [found] = await test.sql`
    select m.*, (m.due_at - ${test.sql(test.schema)}.clock())::text as delay, to_json(m.due_at at time zone 'UTC')::text as due_text
      from ${test.sql(test.schema)}.messages m where m.id = ${id}`
  return found!
}

it('promise 2: what is enqueued is delivered as it was, with its headers and its id', async () => {
  const queue = await test.queue()
  const payload = { text: 'Grüße 🎉 \\ "quoted" \n', list: [1, 2.5, null, true], nested: { deep: {} } }
  const { id, created } = await queue.enqueue(payload, { headers: { trace: 'abc', hops: [1] }, priority: -100 })
  expect(id).toMatch(/^\d+$/)
  expect(created).toBe(true)
  const [message] = await queue.dequeue()
  expect(message).toMatchObject({ id, attempt: 1, queue: queue.name, payload, priority: -100, failures: 0, lapses: 0 })
  expect(message!.headers).toEqual({ trace: 'abc', hops: [1] })
  expect(message!.enqueuedAt).toEqual(message!.dueAt)
  expect(message!.leaseEndsAt.getTime() - message!.enqueuedAt.getTime()).toBe(30_000)
})

it.each(['text', 0, false, null, [], {}, '', [null]].map((payload) => ({ payload })))(
  'promise 2: any JSON value is a payload: $payload',
  async ({ payload }) => {
    const queue = await test.queue()
    await queue.enqueue(payload)
    const [message] = await queue.dequeue()
    expect(message!.payload).toEqual(payload)
    expect(message!.headers).toEqual({})
  },
)

it.each([
  [1500, '00:00:01.5'],
  [0, '00:00:00'],
  [0.5, '00:00:00.0005'],
  ['250ms', '00:00:00.25'],
  ['1.5h', '01:30:00'],
  ['7d', '7 days'],
  ['24.9d', '597.6 hours'],
  ['400d', '400 days'],
  [1e-9, '00:00:00'],
  ['36000d', '36000 days'],
])('promise 1: a delay of %s counts from now by the database', async (delay, expected) => {
  const queue = await test.queue()
  const { id } = await queue.enqueue(1, { delay: delay as Duration })
  const [same] = await test.sql`select ${expected}::interval = ${(await row(id))['delay']}::interval as is_same`
  expect(same!['is_same']).toBe(true)
})

it('promise 1: a delayed message is not delivered before it is due, and then it is', async () => {
  const queue = await test.queue()
  await queue.enqueue('later', { delay: '10m' })
  await test.travel('9 minutes 59.999 seconds')
  expect(await queue.dequeue()).toEqual([])
  await test.travel('1 millisecond')
  const [message] = await queue.dequeue()
  expect(message!.payload).toBe('later')
  expect(message!.latenessMs).toBeLessThan(10_000)
})

it.each([
  ['2031-01-31T09:00:00.123456Z', '2031-01-31T09:00:00.123456'],
  ['2031-01-31T10:00:00.000001+01:00', '2031-01-31T09:00:00.000001'],
  ['2031-01-31 09:00Z', '2031-01-31T09:00:00'],
  [new Date('2031-01-31T09:00:00.123Z'), '2031-01-31T09:00:00.123'],
  ['1999-12-31T23:59:59Z', '1999-12-31T23:59:59'],
])('promise 1: at %s is kept to the microsecond', async (at, expected) => {
  const queue = await test.queue()
  const { id } = await queue.enqueue(1, { at })
  expect(JSON.parse((await row(id))['due_text'])).toBe(expected)
})

it('promise 7: the smaller priority comes first', async () => {
  const queue = await test.queue()
  for (const priority of [0, 100, -1]) await queue.enqueue(priority, { priority })
  const messages = await queue.dequeue({ max: 3 })
  expect(messages.map(({ payload }) => payload)).toEqual([-1, 0, 100])
})

it('a dedup key gives the live message that has it, until that is acked', async () => {
  const queue = await test.queue()
  const first = await queue.enqueue('first', { dedupKey: 'k' })
  expect(await queue.enqueue('second', { dedupKey: 'k' })).toEqual({ id: first.id, created: false })
  const [message] = await queue.dequeue()
  expect(message!.payload).toBe('first')
  await message!.ack()
  const third = await queue.enqueue('third', { dedupKey: 'k' })
  expect(third.created).toBe(true)
  expect(third.id).not.toBe(first.id)
})

it('enqueue to a queue that nobody created says so, and how to create it', async () => {
  const queue = test.dueq.queue('nobody-created-me')
  expect(await codeOf(queue.enqueue(1))).toBe('queue.unknown')
  await expect(queue.enqueue(1)).rejects.toThrow(/"nobody-created-me" does not exist.*ensure\(/s)
})
