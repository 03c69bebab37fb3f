// Whatever is sent, when, and however long it takes: what was held back is told of, soon enough, by something that was sent when
// it was committed and that names an instant at which it is seen.
import fc from 'fast-check'
import { afterEach, beforeEach, expect, it, vi } from 'vitest'
import type { Sender } from '../../src/enqueuer.js'
import { throttleWakes } from '../../src/throttle.js'

beforeEach(() => void vi.useFakeTimers({ now: 1_000_000 }))
afterEach(() => void vi.useRealTimers())

type Held = { readonly dueAt: number; readonly sentAt: number; answeredAt: number }
type Told = { readonly namedAt: number; readonly sentAt: number; readonly kind: 'enqueue' | 'wake' }

/** A throttle without a database: each statement takes so long, in ms. */
function start(takes: () => number) {
  const held: Held[] = []
  const told: Told[] = []
  const answered = <T>(value: T): Promise<T> => new Promise((resolve) => setTimeout(resolve, takes(), value))
  const sender: Sender = {
    one(_, { delayMs = 0 }, isWaking) {
      const sentAt = performance.now()
      if (isWaking) told.push({ namedAt: sentAt + delayMs, sentAt, kind: 'enqueue' })
      const one: Held = { dueAt: sentAt + delayMs, sentAt, answeredAt: Number.POSITIVE_INFINITY }
      if (!isWaking) held.push(one)
      return answered({ id: '1', created: true }).finally(() => {
        one.answeredAt = performance.now()
      })
    },
    many: () => Promise.reject(new Error('not used')),
    async wake(_, agoMs) {
      const sentAt = performance.now()
      told.push({ namedAt: sentAt - agoMs, sentAt, kind: 'wake' })
      await answered(undefined)
    },
  }
  const { one } = throttleWakes(sender)
  return { enqueue: (delayMs: number) => void one('q', { payload: '1', delayMs }), held, told }
}

it('promise 6: what was held back is told of, whatever comes in between', async () => {
  const often = (weight: number, arbitrary: fc.Arbitrary<number>) => ({ weight, arbitrary })
  const step = fc.record({
    pauseMs: fc.oneof(often(3, fc.nat({ max: 4 })), often(1, fc.nat({ max: 100 }))),
    delayMs: fc.oneof(often(2, fc.constant(0)), often(2, fc.nat({ max: 400 })), often(1, fc.nat({ max: 10_000 }))),
    takesMs: fc.oneof(often(3, fc.integer({ min: 1, max: 5 })), often(1, fc.integer({ min: 1, max: 120 }))),
  })
  await fc.assert(
    fc.asyncProperty(fc.array(step, { minLength: 30, maxLength: 60 }), async (steps) => {
      let takesMs = 1
      const { enqueue, held, told } = start(() => takesMs)
      for (const step of steps) {
        await vi.advanceTimersByTimeAsync(step.pauseMs)
        takesMs = step.takesMs
        enqueue(step.delayMs)
      }
      await vi.advanceTimersByTimeAsync(2_000)
      for (const { dueAt, sentAt, answeredAt } of held) {
        // A look begins 50 ms before the end of the last one, which may have been at any time until the answer.
        const isNear = answeredAt - Math.max(sentAt, dueAt) <= 40
        const isFor = (one: Told): boolean =>
          one.sentAt >= answeredAt && one.namedAt <= (isNear && dueAt <= one.sentAt ? one.sentAt : dueAt)
        const by = told.find(isFor)
        expect(by, `what was answered at ${answeredAt}, due at ${dueAt}`).toBeDefined()
        expect(by!.sentAt - answeredAt).toBeLessThanOrEqual(200)
      }
    }),
    { numRuns: 300 },
  )
})

it('1,000 delayed messages a second are told of 20 times a second, also where the later come first', async () => {
  for (const laterMs of [1, 0, -1]) {
    const { enqueue, told } = start(() => 1)
    for (let i = 0; i < 2_000; i++) {
      enqueue(5_000 + i * laterMs)
      await vi.advanceTimersByTimeAsync(1)
    }
    await vi.advanceTimersByTimeAsync(1_000)
    expect(told.length).toBeLessThanOrEqual(42)
  }
})

it('promise 6: a notification of what is due now speaks for all that is held back, one of what is due later for nothing earlier', async () => {
  const { enqueue, held, told } = start(() => 1)
  const next = async (delayMs: number): Promise<void> => {
    enqueue(delayMs)
    await vi.advanceTimersByTimeAsync(2)
  }
  await next(5_000)
  await next(4_000)
  await next(0)
  await vi.advanceTimersByTimeAsync(1_000)
  expect(held).toHaveLength(1)
  expect(told.map(({ kind }) => kind)).toEqual(['enqueue', 'enqueue'])
  enqueue(0)
  enqueue(50) // while the first is under way
  await vi.advanceTimersByTimeAsync(2)
  enqueue(150)
  await vi.advanceTimersByTimeAsync(1_000)
  expect(told.slice(2).map(({ kind }) => kind)).toEqual(['enqueue', 'enqueue', 'wake'])
  expect(told.at(-1)!.namedAt).toBe(held.at(-1)!.dueAt)
})
