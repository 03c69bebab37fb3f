import { setTimeout as delay } from 'node:timers/promises'
import { expect, it } from 'vitest'
import { createAlarm } from '../../src/alarm.js'

it('goes off at its instant and not before, also where less is left than a timer takes', async () => {
  const wentOff: number[] = []
  const alarm = createAlarm(() => wentOff.push(performance.now()))
  for (const inMs of [0, 0.1, 0.15, 0.5, 1.1, 5.1, 7.9]) {
    const at = performance.now() + inMs
    const count = wentOff.length
    alarm.set(at)
    await delay(300) // nothing else happens meanwhile: an alarm must not need the next event
    expect(wentOff.length).toBe(count + 1)
    expect(wentOff.at(-1)).toBeGreaterThanOrEqual(at)
    expect(wentOff.at(-1)! - at).toBeLessThan(250)
  }
})

it('set moves it either way, arm only forward, and cleared it never goes off', async () => {
  let count = 0
  const alarm = createAlarm(() => count++)
  alarm.set(performance.now() + 60_000)
  alarm.arm(performance.now() + 5)
  await expect.poll(() => count).toBe(1)
  alarm.set(performance.now() + 5)
  alarm.set(performance.now() + 60_000)
  await delay(30)
  expect(count).toBe(1)
  alarm.set(performance.now())
  alarm.clear()
  await delay(30)
  expect(count).toBe(1)
})
