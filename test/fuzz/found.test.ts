/** What the fuzzing has found, each once and by name: the shortest inputs that went wrong. */
import { afterAll, beforeAll, expect, it } from 'vitest'
import type { Connection } from '../../src/index.js'
import type { QueueHandle } from '../../src/queue.js'
import { codeOf, startClient, type TestClient } from '../client/client.js'

let test: TestClient
let queue: QueueHandle<unknown, unknown>
beforeAll(async () => {
  test = await startClient()
  queue = await test.queue({ lease: '12h' })
})
afterAll(() => test.close())

const any = (value: unknown): never => value as never
const nobody = { toString: null }
const throwing = {
  get delay() {
    throw new Error('not for you')
  },
}
const sql = (text: string) => test.sql.unsafe(text.replaceAll('dueq.', `${test.schema}.`).replaceAll('$q', queue.name))

it.each<[what: string, code: string, attempt: () => unknown]>([
  ['null as ids, which would have named all', 'option.invalid', () => queue.purgeDead({ ids: any(null) })],
  ['a text as ids', 'option.invalid', () => queue.redrive({ ids: any('12') })],
  ['ids with a hole', 'option.invalid', () => queue.redrive({ ids: any(Object.assign([], { 1: '1' })) })],
  ['a text in place of true or false', 'option.invalid', () => queue.purge({ includeLeased: any('false') })],
  ['no queue', 'option.invalid', () => test.dueq.queue(any(null))],
  ['a queue of a number', 'option.invalid', () => test.dueq.queue(any(5))],
  ['a definition without settings', 'option.invalid', () => test.dueq.ensure(any([{ name: 'x', settings: null }]))],
  ['a setting that is no number', 'option.invalid', () => test.dueq.ensure(any([{ name: 'x', settings: { a: 'b' } }]))],
  ['a signal that is none', 'option.invalid', () => queue.dequeue({ signal: any(5) })],
  ['a consumer with a signal that is none', 'option.invalid', () => queue.consume(async () => {}, { signal: any({}) })],
  ['a Date without a time', 'instant.invalid', () => queue.enqueue(1, { at: Object.create(Date.prototype) })],
  ['a Date of the year 10000', 'instant.invalid', () => queue.enqueue(1, { at: new Date(253_402_300_800_000) })],
  ['options with a getter that throws', 'option.invalid', () => queue.enqueue(1, any(throwing))],
  ['a payload whose toJSON throws null', 'payload.not_json', () => queue.enqueue({ toJSON: () => thrown(null) })],
  ['an iterable that throws', 'option.invalid', () => queue.enqueueMany(messagesUntil(any(nobody)))],
  ['an async iterable that throws null', 'enqueue.incomplete', () => queue.enqueueMany(chunksUntil(null))],
  ['an iterable that is none', 'option.invalid', () => queue.enqueueMany(any({ [Symbol.iterator]: 5 }))],
  ['a reschedule without a when', 'delay.and_at', () => test.dueq.reschedule('1', any(undefined))],
  ['a query function without rows', 'connection.invalid', () => inside(async () => []).enqueue(1)],
  ['a query function with a row of null', 'connection.invalid', () => inside(async () => [null]).enqueue(1)],
])('%s: %s, and nothing is stored', async (_, code, attempt) => {
  const before = await test.messageCount()
  await expect((async () => attempt())()).rejects.toMatchObject({ name: 'DueqError', code })
  expect(await test.messageCount()).toBe(before)
})

it('a reason that is no text is refused, and the message may still be settled', async () => {
  await queue.enqueue(1)
  const [message] = await queue.dequeue()
  await expect(message!.deadLetter(any({}))).rejects.toMatchObject({ code: 'option.invalid' })
  await message!.ack()
})

it.each([
  ['a delay that compares as a day and goes back four', `select dueq.enqueue('$q', '1', delay => '-1 year 361 days')`],
  ['the same among many', `select dueq.enqueue_many('$q', '{1}', delays => '{-1 year 361 days}')`],
  ['a lease that compares as half a day and lasts six', `select dueq.dequeue('$q', lease => '1 year -359.5 days')`],
  ['the same for a queue', `select dueq.create_queue('$q', lease => '1 year -359.5 days')`],
  [
    'a back-off that compares as a day and goes back',
    `select dueq.create_queue('$q', backoff_base => '-1 year 361 days')`,
  ],
])('SQL: %s is out of range', async (_, text) => {
  await expect(sql(text)).rejects.toMatchObject({ code: 'DQ002' })
})

it('SQL: a lease written with months and days lasts as long as it compares', async () => {
  await queue.enqueue(1)
  const [row] = await sql(`
    select extract(epoch from d.lease_ends_at - dueq.clock())::integer as seconds
      from dueq.dequeue('$q', lease => '1 month -29 days -13 hours') d`)
  expect(row!['seconds']).toBeCloseTo(11 * 3600, -2)
})

it.each([
  ['0044-03-15 12:00:00.25+00 BC', 'UTC', '-000043-03-15T12:00:00.250Z'],
  ['4713-01-02 00:00:00+00 BC', 'UTC', '-004712-01-02T00:00:00.000Z'],
  ['1800-06-01 00:00:00+00', 'Europe/Berlin', '1800-06-01T00:00:00.000Z'],
  ['1800-06-01 00:00:00.123456+00', 'America/New_York', '1800-06-01T00:00:00.123Z'],
])('a message due %s arrives in a session of %s', async (at, timeZone, iso) => {
  const own = await test.queue()
  await test.sql.unsafe(`select ${test.schema}.enqueue('${own.name}', '1', at => '${at}')`)
  const url = Object.assign(new URL(test.url), { search: `?TimeZone=${timeZone}` }).href
  const [message] = await test.anotherByUrl({ url }).queue(own.name).dequeue()
  expect(message!.dueAt.toISOString()).toBe(iso)
  expect(message!.latenessMs).toBeGreaterThan(0)
})

const hostile = new Proxy(
  {},
  {
    get: () => thrown('got'),
    has: () => thrown('asked'),
    getPrototypeOf: () => thrown('looked at'),
  },
)
it.each([
  ['nothing', null],
  ['an object without a prototype', Object.create(null)],
  ['an object whose text throws', { toString: () => thrown('a text') }],
  ['a proxy whose traps throw', hostile],
])('whatever a driver throws, the error is that of dueq: %s', async (_name, value) => {
  const failing = test.another({ query: async () => thrown(value), listen: false })
  expect(await codeOf(failing.queue(queue.name).enqueue(1))).toBe('database.error')
})

// --- internal ---

function thrown(value: unknown): never {
  throw value
}

function* messagesUntil(value: unknown): Generator<{ payload: number }> {
  yield { payload: 1 }
  throw value
}

async function* chunksUntil(value: unknown): AsyncGenerator<{ payload: number }> {
  yield { payload: 1 }
  throw value
}

function inside(query: Connection) {
  return test.dueq.in(query).queue(queue.name)
}
