import { expect, it, vi } from 'vitest'
import { createLeases } from '../../src/lease.js'

it('leases of a thousand lengths that are only watched share one timer', () => {
  const timers = vi.spyOn(globalThis, 'setTimeout')
  const leases = createLeases(async () => [])
  try {
    for (let n = 0; n < 1000; n++) {
      const holding = { id: String(n), attempt: 1, leaseMs: 30_000 + n, sentAt: performance.now() }
      leases.drop(leases.hold({ ...holding, isKept: false, onLost: () => {} }))
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
  const held = leases.hold({
    id: '1',
    attempt: 1,
    leaseMs: 1_000,
    sentAt: since - 900,
    isKept: false,
    onLost: () => lostCount++,
  })
  held.isSettling = true
  await expect.poll(() => lostCount, { timeout: 5_000 }).toBe(1)
  expect(performance.now() - since).toBeGreaterThan(1_000)
  leases.close()
})
