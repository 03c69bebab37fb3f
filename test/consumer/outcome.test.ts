import { afterAll, beforeAll, expect, it, vi } from 'vitest'
import type { Message } from '../../src/index.js'
import { startClient, type TestClient } from '../client/client.js'

const empty = { delayed: 0, ready: 0, leased: 0, lapsed: 0 }

let client: TestClient
beforeAll(async () => {
  client = await startClient()
})
afterAll(() => client.close())

const failures = (queue: string) =>
  client.events.filter((event) => event.type === 'message.failed' && event.queue === queue)

it('promise 2: returning acks: the message is gone, and is handled once', async () => {
  const queue = await client.queue<number>()
  const handler = vi.fn((_: Message<number>) => {})
  await using consumer = queue.consume(handler)
  await queue.enqueue(7)
  await expect.poll(() => queue.stats()).toMatchObject(empty)
  expect(handler).toHaveBeenCalledOnce()
  expect(handler.mock.calls[0]![0]).toMatchObject({ payload: 7, attempt: 1, queue: queue.name, failures: 0 })
  expect(consumer.status).toMatchObject({ state: 'running', running: 0, buffered: 0 })
})

it.each([
  ['rejects', async () => Promise.reject(new Error('no luck')), /no luck/],
  [
    'throws before its first await',
    () => {
      throw new TypeError('at once')
    },
    /at once/,
  ],
  ['throws what is no Error', () => Promise.reject('only text'), /^only text$/],
  ['throws undefined', () => Promise.reject(undefined), null],
  ['throws what cannot be made a text', () => Promise.reject(Object.create(null)), /cannot be shown/],
])('promise 2: a handler that %s nacks: a failure, a back-off, and the error is stored', async (_, handler, stored) => {
  const queue = await client.queue({ backoff: { base: '1h', max: '1h' } })
  await using _consumer = queue.consume(handler)
  const { id } = await queue.enqueue({})
  await expect.poll(() => failures(queue.name)).toHaveLength(1)
  const [row] = await client.sql`
    select failures, last_error, ready_at > clock_timestamp() + interval '29 minutes' as is_backing_off, leased_by
      from ${client.sql(client.schema)}.messages where id = ${id}`
  expect(row).toMatchObject({ failures: 1, is_backing_off: true, leased_by: null })
  if (stored) expect(row!['last_error']).toMatch(stored)
})

it('promise 3: a settle by the handler ends the attempt; what it returns or throws then changes nothing', async () => {
  const queue = await client.queue<string>({ backoff: { base: '1h', max: '1h' } })
  const refused: unknown[] = []
  await using _consumer = queue.consume(async (message) => {
    if (message.payload === 'release') await message.release({ delay: '1h' })
    else if (message.payload === 'dead') await message.deadLetter('broken')
    else await message.ack()
    await message.ack().catch((error) => refused.push(error.code))
    if (message.payload === 'throw') throw new Error('after the ack')
  })
  await queue.enqueueMany(['ack', 'release', 'dead', 'throw'].map((payload) => ({ payload })))
  await expect.poll(() => refused).toEqual(Array(4).fill('message.settled'))
  await expect.poll(() => queue.stats()).toMatchObject({ ...empty, delayed: 1, dead: 1 })
  await expect.poll(() => failures(queue.name)).toMatchObject([{ outcome: 'settled' }])
})

it('promise 2: a message that fails as often as its budget allows goes to the dead letters', async () => {
  const queue = await client.queue({ maxAttempts: 3, backoff: { base: 0, max: 0 } })
  const handler = vi.fn(() => Promise.reject(new Error('never')))
  await using _consumer = queue.consume(handler)
  await queue.enqueue({})
  await expect.poll(() => queue.stats()).toMatchObject({ ...empty, dead: 1 })
  expect(handler).toHaveBeenCalledTimes(3)
  // Each nack is answered on a connection of its own, so the last answer may come first.
  await expect
    .poll(() =>
      failures(queue.name)
        .flatMap((event) => ('outcome' in event ? [event.outcome] : []))
        .toSorted(),
    )
    .toEqual(['dead', 'retry', 'retry'])
})

it('promise 3: a handler that rejects after it lost its lease does not fail the new holder', async () => {
  const queue = await client.queue()
  const seen: number[] = []
  await using _consumer = queue.consume(async (message) => {
    seen.push(message.attempt)
    if (message.attempt > 1) return
    const table = client.sql(client.schema)
    // One transaction, so that no claim of the consumer comes between.
    const [taken] = await client.sql.begin(async (other) => {
      await other`update ${table}.messages set ready_at = clock_timestamp() where id = ${message.id}`
      return other`select id, attempt from ${table}.poll(${queue.name}) where id is not null`
    })
    await expect(message.extend()).rejects.toMatchObject({ code: 'lease.lost' })
    expect(message.signal.aborted).toBe(true)
    await client.sql`select ${table}.release(${taken!['id']}, ${taken!['attempt']})`
    throw message.signal.reason
  })
  await queue.enqueue({})
  await expect.poll(() => queue.stats()).toMatchObject({ ...empty, dead: 0 })
  expect(seen).toEqual([1, 3])
  expect(failures(queue.name)).toMatchObject([{ outcome: 'lost' }])
})
