/**
 * Every function of the client gets hostile arguments, on a real database. A call gives what it promises, or a documented
 * error, and then nothing is stored.
 */
import fc from 'fast-check'
import { afterAll, beforeAll, describe, expect } from 'vitest'
import { defineQueue, type Message } from '../../src/index.js'
import type { QueueHandle } from '../../src/queue.js'
import { startClient, type TestClient } from '../client/client.js'
import { expectQuietProcess, fuzz } from './cases.js'
import { anything, bag, noDuration, number, text, thing } from './hostile.js'
import { verdictOf } from './verdict.js'

let test: TestClient
let queue: QueueHandle<unknown, unknown>
let leased: Message
beforeAll(async () => {
  test = await startClient()
  queue = await test.queue({ lease: '12h', maxAttempts: 1000 })
  leased = await claimed()
})
afterAll(() => test.close())
expectQuietProcess()

const any = (value: unknown): never => value as never
const claimed = async (): Promise<Message> => {
  await queue.enqueue('to be settled')
  for (;;) {
    const [message] = await queue.dequeue({ max: 1 })
    if (message) return message
  }
}

/** Runs the call; where it fails, nothing may have been stored. */
async function unharmed(run: () => unknown, looksRight: (result: unknown) => void): Promise<boolean> {
  const before = await test.messageCount()
  const { result, error } = await verdictOf(run)
  if (error) expect(await test.messageCount()).toBe(before)
  else looksRight(result)
  return error === undefined
}

const enqueued = (result: unknown): void =>
  expect(result).toEqual({ id: expect.stringMatching(/^[1-9]\d*$/), created: expect.any(Boolean) })
const each =
  (looksRight: (one: unknown) => void) =>
  (results: unknown): void => {
    for (const one of results as unknown[]) looksRight(one)
  }
const nothing = (result: unknown): void => expect(result).toBeUndefined()
const count = (result: unknown): void => expect(result).toBeGreaterThanOrEqual(0)

const delay = fc.constantFrom<unknown>(0, '1ms', '1d', '36000d', 0.5)
const at = fc.oneof(fc.constantFrom<unknown>('2027-01-31T09:00:00Z', '1800-01-01T00:00:00.123456+01:00'), fc.date())
const priority = fc.integer({ min: -101, max: 101 })
const headers = fc.oneof(fc.dictionary(text, fc.oneof(text, number)), thing)
const options = bag({ delay, at, priority, dedupKey: text, headers })
const ids = fc.oneof(fc.array(fc.oneof(fc.constantFrom('1', '9223372036854775807'), text, thing)), anything)

describe('enqueue', () => {
  fuzz('gives an id, or refuses', 12, [anything, fc.oneof(options, fc.constant(undefined))], (payload, given) =>
    unharmed(() => queue.enqueue(payload, any(given)), enqueued),
  )

  const item = bag({ payload: fc.oneof(anything, fc.constant(1)), delay, at, priority, dedupKey: text, headers })
  const items = fc.oneof({ weight: 5, arbitrary: fc.array(item, { maxLength: 4 }) }, { weight: 1, arbitrary: thing })
  fuzz('enqueueMany gives ids, or refuses', 12, [items, fc.boolean()], async (given, isStreamed) => {
    const stream = async function* () {
      for (const one of Array.isArray(given) ? given : [given]) yield one as never
    }
    await unharmed(() => queue.enqueueMany(isStreamed ? stream() : any(given)), each(enqueued))
  })

  const schema = thing.map((validate) => ({ '~standard': { version: 1, vendor: 'test', validate } }))
  fuzz('a schema that misbehaves refuses', 4, [schema, thing], async (payload, answer) => {
    const validate = payload['~standard'].validate
    const misbehaving = typeof validate === 'function' ? payload : { '~standard': { validate: () => answer } }
    const { result } = await verdictOf(() => defineQueue(queue.name, { payload: any(misbehaving) }))
    if (result) await unharmed(() => test.dueq.queue(result).enqueue(any(1)), enqueued)
  })

  fuzz(
    'a query function that misbehaves is told so',
    4,
    [fc.oneof(anything, fc.array(anything))],
    (rows) =>
    unharmed(() => test.dueq.in(async () => rows as never).queue(queue.name).enqueue(1), () => {}), // biome-ignore format: one line is enough
  )
})

describe('settings', () => {
  const settings = bag({ leaseMs: number, maxAttempts: number, backoffBaseMs: number, backoffMaxMs: number })
  const definition = bag({ name: fc.oneof(text, fc.constant('made')), settings, payload: fc.constant(undefined) })
  fuzz('ensure stores definitions, or refuses', 6, [fc.oneof(anything, fc.array(definition))], (queues) =>
    unharmed(() => test.dueq.ensure(any(queues)), nothing),
  )
  fuzz('a handle by anything works, or is refused', 6, [fc.oneof(definition, anything)], async (given) => {
    await unharmed(() => test.dueq.queue(any(given)).enqueue(1), enqueued)
    await unharmed(() => test.dueq.queue(any(given)).stats(), (stats) => expect(stats).toHaveProperty('ready')) // biome-ignore format: one line is enough
  })
})

describe('dequeue', () => {
  const dequeuing = bag({
    max: fc.oneof(fc.integer({ min: 0, max: 5 }), number),
    lease: fc.constantFrom('1s', '12h', 1000),
    wait: fc.constantFrom<unknown>(0, '1ms', 2),
    signal: fc.constantFrom(undefined, new AbortController().signal, AbortSignal.abort()),
  })
  fuzz(
    'gives messages, or refuses',
    8,
    [fc.oneof(dequeuing, noDuration)],
    (given) =>
    unharmed(() => queue.dequeue(any(given)), each((message) => expect(message).toHaveProperty('attempt'))), // biome-ignore format: one line is enough
  )

  const consuming = bag({
    concurrency: number,
    lease: fc.constantFrom('1s', 1000),
    pollInterval: delay,
    prefetch: number,
  })
  const stop = bag({ mode: fc.constantFrom('finish', 'release', 'drain'), deadline: fc.constantFrom<unknown>('1s', 0) })
  fuzz(
    'consume starts and stops, or refuses',
    4,
    [fc.oneof(consuming, anything), stop, anything],
    async (given, how, handler) => {
      // biome-ignore format: one line is enough
      const idle = test.dueq.queue('nothing-here')
      for (const handle of [
        () => idle.consume(any(handler), any(given)),
        () => idle.consume(async () => {}, any(given)),
      ]) {
        const { result: consumer } = await verdictOf(handle)
        if (!consumer) continue
        consumer.stopped.catch(() => {}) // the queue does not exist
        await verdictOf(() => consumer.stop(any(how)))
        await verdictOf(() => consumer.stop())
      }
      await verdictOf(async () => idle.messages(any(given)).return())
    },
  )
})

describe('a message in hand', () => {
  const how = bag({ delay })
  fuzz('is settled once, or not at all', 20, [fc.nat(4), anything, how], async (verb, reason, given) => {
    const { signal } = leased
    const settle: () => Promise<unknown> = [
      () => leased.nack(reason, any(given)),
      () => leased.release(any(given)),
      () => leased.deadLetter(any(reason), given),
      () => leased.in(any(reason)).ack(),
      () => leased.extend(any(reason)),
    ][verb]!
    const { error } = await verdictOf(settle)
    if (error === undefined && verb !== 4) {
      expect((await verdictOf(() => leased.ack())).error?.code).toBe('message.settled')
      leased = await claimed()
    } else expect(signal.aborted).toBe(false)
  })
})

describe('operators', () => {
  fuzz('ids that are none name nothing', 8, [ids, number], async (given, max) => {
    const own = test.dueq.queue(queue.name)
    const redriven = each((one) => expect(one).toHaveProperty('deadId'))
    await unharmed(() => own.redrive({ ids: any(given), max: any(max) }), redriven)
    await unharmed(() => own.purgeDead({ ids: any(given ?? []) }), count)
  })
  const bags = bag({ ids: fc.constantFrom([], ['1']), includeLeased: fc.constant('yes') })
  fuzz('options that are none delete nothing', 4, [bags.filter((given) => given !== undefined)], async (given) => {
    const other = await test.queue()
    await unharmed(() => other.purge(any(given)), count)
    await unharmed(() => other.purgeDead(any(given)), count)
  })
  const when = bag({ delay, at })
  fuzz('cancel and reschedule do as told, or refuse', 8, [anything, when], async (id, given) => {
    await unharmed(() => test.dueq.cancel(any(id)), nothing)
    const { id: own } = await queue.enqueue('to be moved', { delay: '1d' })
    await unharmed(() => test.dueq.reschedule(own, any(given)), nothing)
  })
})
