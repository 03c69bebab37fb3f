import { setTimeout as delay } from 'node:timers/promises'
import { expect, it } from 'vitest'
import { nowhere } from '../../src/bag.js'
import { createLeases, type Held, type Leases } from '../../src/lease.js'
import type { Outcome } from '../../src/statements-settle.js'

// The keeping of leases by itself: what the database answers is said by the test.
type Extension = { readonly ids: readonly string[]; readonly leaseMs: number; readonly at: number }

function leasesWith(answer: (call: number) => Promise<Outcome[]>) {
  const extensions: Extension[] = []
  const leases = createLeases((ids, _, leaseMs) => {
    extensions.push({ ids, leaseMs, at: performance.now() })
    return answer(extensions.length)
  })
  return { leases, extensions }
}

function hold(leases: Leases, id: string, leaseMs: number, options: { isKept?: boolean; sentAt?: number } = {}) {
  const lostAt: number[] = []
  const held: Held = {
    id,
    attempt: 1,
    leaseMs,
    trustedUntil: 0,
    isSettling: false,
    lost: undefined,
    group: undefined,
    leasePlace: nowhere,
    onLost: () => lostAt.push(performance.now()),
  }
  leases.hold(held, options.sentAt ?? performance.now(), options.isKept ?? true)
  return { held, lostAt }
}

it('many leases are extended by one statement per interval, however their claims were spread', async () => {
  const { leases, extensions } = leasesWith(async () => [])
  const start = performance.now()
  for (let i = 0; i < 50; i++) {
    hold(leases, String(i), 600)
    await delay(3)
  }
  const spreadMs = performance.now() - start
  await delay(1_000)
  leases.close()
  const batches = extensions.filter(({ ids }) => ids.length === 50)
  expect(batches.length).toBeGreaterThanOrEqual(3)
  // While claims come in, each third of a lease extends what is there.
  expect(extensions.length - batches.length).toBeLessThanOrEqual(Math.ceil(spreadMs / 200) + 1)
})

it('an extension that fails or hangs is not a lost lease: the next one comes before the trust runs out', async () => {
  const { leases, extensions } = leasesWith(async (call) => {
    if (call === 1) throw new Error('no connection')
    if (call === 2) return new Promise(() => {})
    return []
  })
  const { held, lostAt } = hold(leases, '1', 600)
  await delay(900)
  expect(extensions.length).toBeGreaterThanOrEqual(3)
  expect(lostAt).toHaveLength(0)
  expect(leases.isTrusted(held)).toBe(true)
  leases.close()
})

it('promise 3: a lease that cannot be extended is lost before it ends, counted from before the claim was sent', async () => {
  const { leases } = leasesWith(() => Promise.reject(new Error('no connection')))
  const sentAt = performance.now() - 300
  const { held, lostAt } = hold(leases, '1', 600, { sentAt })
  await expect.poll(() => lostAt, { interval: 5 }).toHaveLength(1)
  expect(lostAt[0]! - sentAt).toBeLessThan(850) // 900 were it counted from the answer
  expect(held.lost).toMatchObject({ code: 'lease.lost' })
  leases.close()
})

it('a long extension of one message by its handler takes nothing from the others', async () => {
  const { leases, extensions } = leasesWith(async () => [])
  const first = hold(leases, '1', 300)
  leases.extended(first.held, 3_600_000, performance.now())
  const second = hold(leases, '2', 300)
  const raw = hold(leases, '3', 300, { isKept: false })
  leases.extended(raw.held, 3_600_000, performance.now())
  const rawToo = hold(leases, '4', 300, { isKept: false })
  await delay(700)
  expect(second.lostAt).toHaveLength(0)
  expect(extensions.every(({ ids }) => ids.join() === '2')).toBe(true)
  expect(rawToo.lostAt).toHaveLength(1)
  expect(raw.lostAt).toHaveLength(0)
  leases.close()
})

it('a claim whose answer came late is watched in its own time', async () => {
  const { leases } = leasesWith(() => Promise.reject(new Error('no connection')))
  hold(leases, '1', 600)
  const late = hold(leases, '2', 600, { sentAt: performance.now() - 400 })
  await delay(260)
  expect(late.lostAt).toHaveLength(1)
  leases.close()
})

it('a busy row is tried again, and delays no other extension', async () => {
  const { leases, extensions } = leasesWith(async () => [{ id: '1', outcome: 'busy', attempt: 1 }])
  const busy = hold(leases, '1', 400)
  const other = hold(leases, '2', 400)
  await delay(600)
  expect(other.lostAt).toHaveLength(0)
  expect(busy.lostAt).toHaveLength(1)
  expect(extensions.length).toBeLessThan(20)
  leases.close()
})

it('a settle after the trust ran out is refused with an error, also for a lease that is no longer kept', async () => {
  const { leases } = leasesWith(async () => [])
  const { held } = hold(leases, '1', 50)
  leases.drop(held)
  await delay(60)
  expect(leases.isTrusted(held)).toBe(false)
  expect(held.lost).toMatchObject({ code: 'lease.lost' })
  leases.close()
})
