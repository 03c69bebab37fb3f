import { expect, it, vi } from 'vitest'
import { nowhere } from '../../src/bag.js'
import { createLeases, type Held } from '../../src/lease.js'

const lease = (id: string, leaseMs: number, onLost = () => {}): Held => ({
  id,
  attempt: 1,
  leaseMs,
  trustedUntil: 0,
  isSettling: false,
  lost: undefined,
  group: undefined,
  leasePlace: nowhere,
  onLost,
})

it('leases of a thousand lengths that are only watched share one timer', () => {
  const timers = vi.spyOn(globalThis, 'setTimeout')
  const leases = createLeases(async () => [])
  try {
    for (let n = 0; n < 1000; n++) {
      const held = lease(String(n), 30_000 + n)
      leases.hold(held, performance.now(), false)
      leases.drop(held)
    }
    expect(timers).toHaveBeenCalledTimes(1)
  } finally {
    timers.mockRestore()
    leases.close()
  }
})

it('a settle without an answer holds up the loss of its lease for one more length of it, and not for ever', async () => {
  const leases = createLeases(async () => [])
  let lostCount = 0
  const since = performance.now()
  const held = lease('1', 1_000, () => lostCount++)
  leases.hold(held, since - 900, false)
  held.isSettling = true
  await expect.poll(() => lostCount, { timeout: 5_000 }).toBe(1)
  expect(performance.now() - since).toBeGreaterThan(1_000)
  leases.close()
})
