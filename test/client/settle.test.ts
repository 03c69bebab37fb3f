import { afterAll, beforeAll, expect, it } from 'vitest'
import { type DueqError, isDueqError, LeaseLostError, type Message } from '../../src/index.js'
import type { QueueHandle } from '../../src/queue.js'
import { codeOf, startClient, type TestClient } from './client.js'

let test: TestClient
let queue: QueueHandle<unknown, unknown>
beforeAll(async () => {
  test = await startClient()
})
afterAll(() => test.close())

const claimed = async (settings: Parameters<TestClient['queue']>[0] = {}): Promise<Message> => {
  queue = await test.queue({ lease: '1m', ...settings })
  await queue.enqueue({ to: 7 })
  const [message] = await queue.dequeue()
  return message!
}
const dead = async (id: string) => {
  const [row] = await test.sql`select reason, last_error from ${test.sql(test.schema)}.dead_letters where id = ${id}`
  return row
}

it('ack deletes the message', async () => {
  const message = await claimed()
  await message.ack()
  expect(await queue.stats()).toMatchObject({ ready: 0, leased: 0, delayed: 0, dead: 0 })
})

it('nack keeps the error, counts a failure and delays by the back-off, or by the delay given', async () => {
  const message = await claimed({ backoff: { base: '10s', max: '10s' } })
  expect(await message.nack(new TypeError('no such user'))).toBe('retry')
  expect(await queue.stats()).toMatchObject({ delayed: 1 })
  await test.travel('10 seconds')
  const [again] = await queue.dequeue()
  expect(again).toMatchObject({ id: message.id, attempt: 2, failures: 1, lapses: 0 })
  const [row] = await test.sql`select last_error from ${test.sql(test.schema)}.messages where id = ${message.id}`
  expect(row!['last_error']).toContain('TypeError: no such user')
  expect(await again!.nack('text', { delay: 0 })).toBe('retry')
  expect((await queue.dequeue())[0]).toMatchObject({ attempt: 3, failures: 2 })
})

it('the nack that uses up the budget says dead', async () => {
  const message = await claimed({ maxAttempts: 1 })
  expect(await message.nack(new Error('broken \u0000 text \ud800'))).toBe('dead')
  expect(await dead(message.id)).toMatchObject({
    reason: 'exhausted',
    last_error: expect.stringContaining('broken \ufffd text \ufffd'),
  })
})

it('release gives back without a failure, at once or after a delay', async () => {
  const message = await claimed()
  await message.release()
  const [again] = await queue.dequeue()
  expect(again).toMatchObject({ id: message.id, attempt: 2, failures: 0 })
  await again!.release({ delay: '1h' })
  expect(await queue.stats()).toMatchObject({ delayed: 1 })
})

it('deadLetter moves the message at once, with the reason and the error', async () => {
  const message = await claimed()
  await message.deadLetter('unpayable', new Error('account closed'))
  expect(await dead(message.id)).toMatchObject({
    reason: 'unpayable',
    last_error: expect.stringContaining('account closed'),
  })
  const [redriven] = await queue.redrive()
  expect(redriven).toMatchObject({ deadId: message.id })
  expect(redriven!.id).not.toBe(message.id)
})

it('promise 3: each attempt settles once: what comes after says how it was settled', async () => {
  const message = await claimed()
  await message.nack('failed', { delay: '1h' })
  const verbs = [message.ack, message.release, message.nack, message.extend, () => message.deadLetter('r')]
  for (const late of verbs)
    await expect(late()).rejects.toMatchObject({ code: 'message.settled', message: expect.stringContaining('(retry)') })
  expect(await queue.stats()).toMatchObject({ delayed: 1, dead: 0 })
})

it('promise 3: two settles at once: the second is refused', async () => {
  const message = await claimed()
  const codes = await Promise.all([codeOf(message.ack()), codeOf(message.nack()), codeOf(message.ack())])
  expect(codes).toEqual(['none', 'message.settled', 'message.settled'])
})

it('promise 3: a stale consumer gets LeaseLostError from every verb, its signal aborts, and the new one is not disturbed', async () => {
  const verbs: readonly ((message: Message) => Promise<unknown>)[] = [
    (message) => message.ack(),
    (message) => message.nack('r'),
    (message) => message.release(),
    (message) => message.extend(),
    (message) => message.deadLetter('r'),
  ]
  for (const verb of verbs) {
    const message = await claimed()
    await test.travel('1 minute')
    const [again] = await queue.dequeue()
    expect(again).toMatchObject({ id: message.id, attempt: 2 })
    const { signal } = message
    const error: DueqError = await verb(message).then(
      () => {
        throw new Error('It settled')
      },
      (thrown) => thrown,
    )
    expect(error).toBeInstanceOf(LeaseLostError)
    expect(isDueqError(error)).toBe(true)
    expect(error).toMatchObject({ code: 'lease.lost', details: { id: message.id, attempt: 1 } })
    expect(signal.aborted).toBe(true)
    expect(await codeOf(message.ack())).toBe('lease.lost')
    await again!.ack()
  }
})

it('promise 3: a lapsed lease that nobody has claimed again may still settle', async () => {
  const message = await claimed()
  await test.travel('10 minutes')
  await message.ack()
  expect(await queue.stats()).toMatchObject({ ready: 0, lapsed: 0 })
})

it('a settle that was refused for its arguments may be tried again', async () => {
  const message = await claimed()
  expect(await codeOf(message.nack('e', { delay: -1 }))).toBe('duration.invalid')
  expect(await codeOf(message.deadLetter(''))).toBe('option.invalid')
  expect(await codeOf(message.extend('13h'))).toBe('duration.invalid')
  await message.ack()
})
