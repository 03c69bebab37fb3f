/**
 * The primary is killed under load and its synchronous standby promoted: nobody is told, and nothing acknowledged is lost.
 */
import { setTimeout as delay } from 'node:timers/promises'
import { expect, it } from 'vitest'
import { isDueqError } from '../../src/errors.js'
import { load, startPair } from './pair.js'

it('promise 2: the primary killed, its synchronous standby promoted: producers and consumers go on there, what was acknowledged is delivered', async (test) => {
  const rejections: unknown[] = []
  const onRejection = (error: unknown): void => void rejections.push(error)
  process.on('unhandledRejection', onRejection)
  await using pair = await startPair(test)
  const events: string[] = []
  const producing = pair.client()
  const consuming = pair.client({ onEvent: ({ type }) => events.push(type) })
  await producing.ensure([load])
  const handled = new Map<number, Set<string>>()
  const consumer = consuming
    .queue(load)
    .consume(({ id, payload }) => void handled.set(payload, (handled.get(payload) ?? new Set()).add(id)), {
      concurrency: 20,
    })
  await expect.poll(() => events).toContain('listen.up')
  const acknowledged: number[] = []
  const repeated: number[] = []
  let next = 0
  let isOver = false
  const producers = Array.from({ length: 8 }, async () => {
    while (!isOver) {
      const payload = next++
      // Not due before the fail-over is over, so that a first that landed still holds its key.
      const enqueue = () => producing.queue(load).enqueue(payload, { dedupKey: `k${payload}`, delay: '5s' })
      for (let isUnknown = false; ; ) {
        try {
          await enqueue()
          acknowledged.push(payload)
          if (isUnknown) repeated.push(payload)
          break
        } catch (error) {
          if (!isDueqError(error)) throw error
          isUnknown ||= error.isOutcomeUnknown
          await delay(20)
        }
      }
      await delay(5)
    }
  })
  const before = await consuming.queue(load).enqueue(-1)
  await expect.poll(() => handled.has(-1)).toBe(true)
  await delay(300)
  events.length = 0
  await pair.primary.kill()
  await pair.standby.promote()
  const promotedCount = acknowledged.length
  await expect.poll(() => acknowledged.length, { timeout: 10_000 }).toBeGreaterThan(promotedCount + 50)
  await expect.poll(() => events).toContain('listen.up')
  isOver = true
  await Promise.all(producers)
  await expect.poll(() => acknowledged.filter((one) => !handled.has(one)), { timeout: 20_000 }).toEqual([])
  expect(repeated.length).toBeGreaterThan(0)
  expect([...handled].filter(([, ids]) => ids.size > 1)).toEqual([])
  expect(before.created).toBe(true)
  expect(consumer.status.state).toBe('running')
  process.off('unhandledRejection', onRejection)
  expect(rejections).toEqual([])
}, 60_000)
