import { afterAll, beforeAll, expect, it } from 'vitest'
import type { DueqError, EnqueueItem } from '../../src/index.js'
import { codeOf, startClient, type TestClient } from './client.js'

let test: TestClient
beforeAll(async () => {
  test = await startClient()
})
afterAll(() => test.close())

const failure = async (promise: Promise<unknown>): Promise<DueqError> =>
  promise.then(
    () => {
      throw new Error('It did not fail')
    },
    (error: DueqError) => error,
  )

it('the answers come in the order of the messages, each with its own options', async () => {
  const queue = await test.queue<string>()
  const before = await queue.enqueue('there', { dedupKey: 'b' })
  const enqueued = await queue.enqueueMany([
    { payload: 'a', priority: 5 },
    { payload: 'b "quoted, \\ {}', dedupKey: 'b' },
    { payload: 'c', delay: '1h' },
    { payload: 'd', at: '2031-01-01T00:00:00Z', headers: { x: 'a,b"\\' } },
    { payload: 'null' },
  ])
  expect(enqueued.map(({ created }) => created)).toEqual([true, false, true, true, true])
  expect(enqueued[1]!.id).toBe(before.id)
  const messages = await queue.dequeue({ max: 10 })
  expect(messages.map(({ payload }) => payload)).toEqual(['there', 'null', 'a'])
  expect(await queue.stats()).toMatchObject({ delayed: 2, leased: 3 })
})

it('headers, quotes and JSON null survive the way through an array', async () => {
  const queue = await test.queue<unknown>()
  const payloads = [null, 'null', '{}', '","', { a: ['\\', '"', '\n', ''] }, []]
  await queue.enqueueMany(payloads.map((payload) => ({ payload, headers: { a: ',"\\{}' } })))
  const messages = await queue.dequeue({ max: 10 })
  expect(messages.map(({ payload }) => payload)).toEqual(payloads)
  for (const { headers } of messages) expect(headers).toEqual({ a: ',"\\{}' })
})

it('promise 4: an array is enqueued whole or not at all', async () => {
  const queue = await test.queue()
  const error = await failure(
    queue.enqueueMany([{ payload: 1 }, { payload: 2, delay: '1 day' as '1d' }, { payload: 3 }]),
  )
  expect(error).toMatchObject({ code: 'duration.invalid', details: { index: 1, option: 'delay' } })
  expect(error.message).toMatch(/^Message 1: Expected `delay`/)
  const items: EnqueueItem<number>[] = Array.from({ length: 1500 }, (_, payload) => ({ payload }))
  // Found by the database only: headers above 64 kB.
  const late = await failure(queue.enqueueMany([...items, { payload: 1500, headers: { a: pseudoRandom(70_000) } }]))
  expect(late.code).toBe('option.invalid')
  expect(late.message).toMatch(/message 1501 of 1501/)
  expect(await queue.stats()).toMatchObject({ ready: 0 })
  expect(await queue.enqueueMany(new Set(items))).toHaveLength(1500)
  expect(await queue.stats()).toMatchObject({ ready: 1500 })
})

it('no messages are no statement and no error', async () => {
  expect(await test.dueq.queue('not-even-a-queue').enqueueMany([])).toEqual([])
  expect(await test.dueq.queue('not-even-a-queue').enqueueMany((async function* () {})())).toEqual([])
})

it('an async iterable is committed chunk by chunk, as it comes', async () => {
  const queue = await test.queue<number>()
  const readyAt: number[] = []
  async function* source(): AsyncGenerator<EnqueueItem<number>> {
    for (let payload = 0; payload < 2500; payload++) {
      if (payload % 1000 === 0) readyAt.push((await queue.stats()).ready)
      yield { payload }
    }
  }
  const enqueued = await queue.enqueueMany(source())
  expect(enqueued).toHaveLength(2500)
  expect(new Set(enqueued.map(({ id }) => id)).size).toBe(2500)
  expect(readyAt).toEqual([0, 1000, 2000])
})

it('an async iterable that fails says how far it came, and a caller goes on from there', async () => {
  const queue = await test.queue<number>()
  async function* source(from: number, failsAt: number): AsyncGenerator<EnqueueItem<number>> {
    for (let payload = from; payload < 2200; payload++) {
      if (payload === failsAt) throw new Error('the file is damaged')
      yield { payload }
    }
  }
  const error = await failure(queue.enqueueMany(source(0, 1700)))
  expect(error).toMatchObject({ code: 'enqueue.incomplete', cause: { message: 'the file is damaged' } })
  expect(error.message).toMatch(/after 1000 committed messages: the file is damaged/)
  const committed = error.details['committed'] as readonly { id: string }[]
  expect(committed).toHaveLength(1000)
  expect(await queue.stats()).toMatchObject({ ready: 1000 })
  await queue.enqueueMany(source(committed.length, -1))
  const payloads = (await queue.dequeue({ max: 3000 })).map(({ payload }) => payload)
  expect(payloads).toEqual(Array.from({ length: 2200 }, (_, i) => i))
})

it('with `ids: false` it gives how many were created, of an array and of an async iterable', async () => {
  const queue = await test.queue<number>()
  async function* source(count: number) {
    for (let i = 0; i < count; i++) yield { payload: i, dedupKey: `k${i % 1200}` }
  }
  const array = [{ payload: 0, dedupKey: 'k0' }, { payload: 1 }]
  expect(await queue.enqueueMany(array, { ids: false })).toBe(2)
  expect(await queue.enqueueMany(source(1500), { ids: false })).toBe(1199)
  expect(await queue.enqueueMany([], { ids: false })).toBe(0)
  const error = await failure(
    queue.enqueueMany(
      (async function* () {
        yield* source(1100)
        throw new Error('the file is damaged')
      })(),
      { ids: false },
    ),
  )
  expect(error).toMatchObject({ code: 'enqueue.incomplete', details: { committedCount: 1000 } })
  expect(error.details).not.toHaveProperty('committed')
  expect(await codeOf(queue.enqueueMany([], { ids: 'no' as never }))).toBe('option.invalid')
  expect(await codeOf(queue.enqueueMany([], { id: false } as never))).toBe('option.unknown')
})

it('a bad message in an async iterable stops it with its position', async () => {
  const queue = await test.queue<number>()
  async function* source(): AsyncGenerator<EnqueueItem<number>> {
    yield { payload: 0 }
    yield { payload: Number.NaN }
  }
  const error = await failure(queue.enqueueMany(source()))
  expect(error).toMatchObject({
    code: 'enqueue.incomplete',
    cause: { code: 'payload.not_json', details: { index: 1 } },
    details: { committed: [] },
  })
  expect(await queue.stats()).toMatchObject({ ready: 0 })
})

/** Text that does not compress. */
function pseudoRandom(length: number): string {
  let seed = 1
  return Array.from({ length }, () => String.fromCharCode(33 + ((seed = (seed * 48_271) % 2_147_483_647) % 90))).join(
    '',
  )
}
