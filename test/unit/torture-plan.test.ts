import { describe, expect, it } from 'vitest'
import { faultKinds } from '../../src/cli/torture/faults.js'
import { type PlanOptions, planFaults } from '../../src/cli/torture/plan.js'
import { createRandom } from '../../src/cli/torture/random.js'

const options: PlanOptions = {
  seed: 7,
  forMs: 60_000,
  kinds: faultKinds,
  producers: ['producer 1', 'producer 2'],
  consumers: ['consumer 1', 'consumer 2', 'consumer 3'],
}

describe('the schedule of faults', () => {
  it('is the same for the same seed and options, and another for another seed', () => {
    expect(planFaults(options)).toEqual(planFaults(options))
    expect(planFaults({ ...options, seed: 8 })).not.toEqual(planFaults(options))
  })
  it.each([1, 2, 3, 4, 5])('has every kind twice a minute, and never two on one process at once (seed %i)', (seed) => {
    const plan = planFaults({ ...options, seed })
    for (const { name } of faultKinds) expect(plan.filter(({ kind }) => kind === name)).toHaveLength(2)
    for (const [index, one] of plan.entries()) {
      expect(one.atMs).toBeGreaterThanOrEqual(0)
      expect(one.atMs + one.lastsMs).toBeLessThanOrEqual(60_000)
      for (const other of plan.slice(index + 1)) {
        if (other.whom === one.whom) expect(other.atMs).toBeGreaterThan(one.atMs + one.lastsMs)
      }
    }
  })
  it('keeps to those a kind is for', () => {
    for (const { kind, whom } of planFaults(options)) {
      const { whom: role } = faultKinds.find(({ name }) => name === kind)!
      expect(role === 'any' ? /^(producer|consumer) \d$/ : new RegExp(`^${role}`)).toSatisfy((pattern) =>
        (pattern as RegExp).test(whom),
      )
    }
  })
  it('kills none of those that are spared, who suffer everything else', () => {
    const spared = ['producer 1', 'consumer 1', 'consumer 2', 'consumer 3']
    const plan = planFaults({ ...options, forMs: 600_000, spared })
    const deadly = faultKinds.filter(({ isDeadly }) => isDeadly).map(({ name }) => name)
    expect(deadly).toEqual(['kill consumer', 'kill producer', 'pooler'])
    const killed = plan.filter(({ kind }) => deadly.includes(kind)).map(({ whom }) => whom)
    expect(new Set(killed)).toEqual(new Set(['producer 2']))
    expect(new Set(plan.map(({ whom }) => whom))).toContain('consumer 1')
  })
  it('has a kind as seldom as it says', () => {
    const kinds = faultKinds.map((kind) => (kind.name === 'kill server' ? { ...kind, everyMs: 150_000 } : kind))
    const plan = planFaults({ ...options, kinds, forMs: 600_000 })
    expect(plan.filter(({ kind }) => kind === 'kill server')).toHaveLength(4)
    expect(plan.filter(({ kind }) => kind === 'stop')).toHaveLength(20)
  })
  it('fits a short run, each kind once', () => {
    const plan = planFaults({ ...options, forMs: 15_000 })
    expect(plan).toHaveLength(faultKinds.length)
    for (const { atMs, lastsMs } of plan) expect(atMs + lastsMs).toBeLessThanOrEqual(15_000)
  })
})

describe('numbers from a seed', () => {
  it('are spread evenly, and drawn as often as their weights say', () => {
    const random = createRandom(1)
    const sum = Array.from({ length: 10_000 }, () => random.next()).reduce((a, b) => a + b, 0)
    expect(sum / 10_000).toBeCloseTo(0.5, 1)
    const drawn = Array.from({ length: 10_000 }, () => random.weighted({ often: 9, seldom: 1 }))
    expect(drawn.filter((name) => name === 'often').length / 10_000).toBeCloseTo(0.9, 1)
  })
})
