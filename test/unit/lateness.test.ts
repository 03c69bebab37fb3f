import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { createLatenessRecorder, histogram } from '../../src/cli/lateness.js'

function summaryOf(values: readonly number[]): ReturnType<ReturnType<typeof createLatenessRecorder>['summary']> {
  const recorder = createLatenessRecorder()
  for (const value of values) recorder.record(value)
  return recorder.summary()
}

describe('percentiles', () => {
  it('are values that were recorded, by nearest rank', () => {
    const shuffled = Array.from({ length: 100 }, (_, index) => ((index * 37) % 100) + 1)
    expect(summaryOf(shuffled)).toEqual({ count: 100, p50: 50, p95: 95, p99: 99, max: 100, mean: 50.5 })
    expect(summaryOf([10, 9])).toEqual({ count: 2, p50: 9, p95: 10, p99: 10, max: 10, mean: 9.5 })
    expect(summaryOf([3])).toEqual({ count: 1, p50: 3, p95: 3, p99: 3, max: 3, mean: 3 })
  })

  it('leave at least their share of values at or below, and no smaller value does', () => {
    fc.assert(
      fc.property(fc.array(fc.integer({ min: -5, max: 50 }), { minLength: 1, maxLength: 300 }), (values) => {
        const summary = summaryOf(values)
        for (const [percent, value] of [
          [50, summary.p50],
          [95, summary.p95],
          [99, summary.p99],
        ] as const) {
          expect(values.filter((other) => other <= value).length * 100).toBeGreaterThanOrEqual(percent * values.length)
          expect(values.filter((other) => other < value).length * 100).toBeLessThan(percent * values.length)
        }
      }),
    )
  })

  it('are NaN of nothing, and a value that is no number is refused', () => {
    expect(summaryOf([])).toEqual({
      count: 0,
      p50: Number.NaN,
      p95: Number.NaN,
      p99: Number.NaN,
      max: Number.NaN,
      mean: Number.NaN,
    })
    expect(() => createLatenessRecorder().record(Number.NaN)).toThrow(RangeError)
  })
})

describe('histogram', () => {
  it('shows the buckets in use, scaled to the fullest', () => {
    expect(histogram([0, 0.999, 1, 1.5, 1.9, 1.99, 7], { width: 8 })).toBe(
      ['    < 1 ms  2  ████', '    1-2 ms  4  ████████', '    2-5 ms  0', '   5-10 ms  1  ██'].join('\n'),
    )
  })
  it('always shows a bucket that is not empty', () => {
    const lines = histogram([...Array.from({ length: 5000 }, () => 15), 5000], { width: 10 }).split('\n')
    expect(lines[0]).toBe('  10-20 ms  5000  ██████████')
    expect(lines.at(-1)).toBe('     > 1 s     1  ▏')
  })
  it('gives early deliveries a line of their own', () => {
    expect(histogram([-0.001], { width: 2 })).toBe('     early  1  ██')
  })
  it('says so when there is nothing', () => {
    expect(histogram([])).toBe('(no values)')
  })
})
