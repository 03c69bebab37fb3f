import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import type { QueueHandle } from '../../src/queue.js'
import { startClient, type TestClient } from './client.js'

let test: TestClient
let queue: QueueHandle<unknown, unknown>
beforeAll(async () => {
  test = await startClient()
  queue = await test.queue()
})
afterAll(() => test.close())

const cycle: { self?: unknown } = {}
cycle.self = cycle

/** What JSON or `jsonb` would drop, change or refuse, and what the error must say about it. */
const lossy: readonly (readonly [what: string, value: unknown, says: RegExp])[] = [
  ['undefined', undefined, /undefined/],
  ['a function', () => 1, /a function/],
  ['a symbol', Symbol('s'), /a symbol/],
  ['undefined in an array', [1, undefined], /the array/],
  ['a function in a nested array', { a: { b: [() => 1] } }, /the array at "b"/],
  ['a BigInt', { id: 1n }, /BigInt/],
  ['NaN', Number.NaN, /NaN/],
  ['Infinity', { rate: Number.POSITIVE_INFINITY }, /Infinity at "rate"/],
  ['-Infinity in an array', [[Number.NEGATIVE_INFINITY]], /-Infinity/],
  ['an integer beyond 2^53', { id: 2 ** 53 }, /9007199254740992 at "id".*as a string/],
  ['a large integer in exponent form', { n: 1e300 }, /1e\+300/],
  ['U+0000', 'a\u0000b', /U\+0000/],
  ['U+0000 deep inside', { a: [{ b: 'x\u0000' }] }, /at "b".*U\+0000/],
  ['U+0000 in a property name', { 'a\u0000': 1 }, /property name.*U\+0000/],
  ['a lone high surrogate', { text: 'cut \ud83c' }, /at "text".*lone surrogate/],
  ['a lone low surrogate', '\udf89', /lone surrogate/],
  ['a lone surrogate in a property name', { '\ud83c': 1 }, /surrogate/i],
  ['a cycle', cycle, /circular/i],
]

describe('refused with payload.not_json, before anything is sent', () => {
  it.each(lossy)('%s', async (_, value, says) => {
    const expected = { code: 'payload.not_json', message: expect.stringMatching(says) }
    await expect(queue.enqueue(value)).rejects.toMatchObject(expected)
    await expect(queue.enqueueMany([{ payload: 1 }, { payload: value }])).rejects.toMatchObject(expected)
    if (typeof value === 'object' && value !== null && !Array.isArray(value))
      await expect(queue.enqueue(1, { headers: value as Record<string, unknown> })).rejects.toMatchObject(expected)
    expect(await test.messageCount()).toBe(0)
  })
})

it('an integer beyond 2^53 is refused wherever in the JSON it is', async () => {
  await expect(queue.enqueue(2 ** 53)).rejects.toMatchObject({ code: 'payload.not_json' })
  for (let place = 0; place < 20; place++) {
    const before = 'x'.repeat(place)
    await expect(queue.enqueue([before, 2 ** 53])).rejects.toMatchObject({ code: 'payload.not_json' })
    await expect(queue.enqueue([before, 1, 2 ** 53, 1])).rejects.toMatchObject({ code: 'payload.not_json' })
  }
  expect(await test.messageCount()).toBe(0)
})

describe('kept exactly', () => {
  const kept: readonly unknown[] = [
    2 ** 53 - 1,
    -(2 ** 53 - 1),
    0.1,
    1e-7,
    1.7976931348623157,
    '\\u0000 written out',
    '\\ud83c written out',
    '🎉 a pair',
    '9007199254740993',
    'null, 1e+300 and 1234567890123456789 as text',
    { __proto__: null, constructor: 1, '': 2 },
    [[[[]]]],
    { a: null },
  ]
  it.each(kept.map((payload) => ({ payload })))('$payload', async ({ payload }) => {
    const own = await test.queue()
    await own.enqueue(payload)
    const [message] = await own.dequeue()
    expect(message!.payload).toEqual(payload)
    await message!.ack()
  })

  it('a property whose value is undefined is left out, and toJSON is asked, as JSON does', async () => {
    const own = await test.queue()
    await own.enqueue({ a: undefined, at: new Date(0), b: 1 })
    const [message] = await own.dequeue()
    expect(message!.payload).toEqual({ at: '1970-01-01T00:00:00.000Z', b: 1 })
    await message!.ack()
  })
})

describe('the limit of 1 MB counts bytes of JSON', () => {
  // Two bytes are the quotes. A character of one, two and four bytes.
  it.each([
    ['a', 1_048_574],
    ['é', 524_287],
    ['🎉', 262_143],
  ])('of %s', async (character, count) => {
    const own = await test.queue()
    await own.enqueue(character.repeat(count))
    const tooMuch = own.enqueue(character.repeat(count + 1))
    await expect(tooMuch).rejects.toMatchObject({
      code: 'payload.too_large',
      message: expect.stringMatching(/limit is 1048576.*a reference to it/),
    })
    const [message] = await own.dequeue()
    expect(message!.payload).toBe(character.repeat(count))
    await message!.ack()
  })

  it('as the database writes it: an array of many numbers is refused there with the same code', async () => {
    const numbers = Array.from({ length: 400_000 }, () => 1)
    await expect(queue.enqueue(numbers)).rejects.toMatchObject({
      code: 'payload.too_large',
      details: { sqlState: 'DQ003' },
    })
    expect(await test.messageCount()).toBe(0)
  })
})
