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
