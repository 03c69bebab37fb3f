import { expect, it } from 'vitest'
import { type Baseline, figuresOf, type Sample, spreadOf } from '../../src/cli/bench-figures.js'

const flat = (median: number) => ({ median, min: median, max: median })
const local: Baseline = { roundTripMs: flat(0.1), commitMs: flat(1) }
const far: Baseline = { roundTripMs: flat(20), commitMs: flat(21) }
const sample = (parts: Partial<Sample>): Sample => ({ id: 'a', label: 'A', unit: 'per second', value: 1, ...parts })

it('gives median, least and most of the rounds; of an even number a value that was measured', () => {
  expect(spreadOf([3, 1, 2])).toEqual({ median: 2, min: 1, max: 3 })
  expect(spreadOf([4, 1, 3, 2])).toEqual({ median: 2, min: 1, max: 4 })
})

it('compares samples of the same round only: the ratio is not that of the medians', () => {
  const [figure] = figuresOf([sample({ value: 10, bare: 5 }), sample({ value: 30, bare: 60 })], local)
  expect(figure).toMatchObject({
    rounds: [10, 30],
    bare: { min: 5, max: 60 },
    ratio: { median: 0.5, min: 0.5, max: 2 },
  })
})

it('has no ratio where nothing was compared, and keeps the order of the scenarios', () => {
  const figures = figuresOf([sample({ id: 'b' }), sample({ id: 'a' }), sample({ id: 'b' })], local)
  expect(figures.map(({ id, rounds, bare, ratio }) => [id, rounds.length, bare, ratio])).toEqual([
    ['b', 2, null, null],
    ['a', 1, null, null],
  ])
})

it.each([
  ['client CPU', local, { answerMs: 5, cpuShare: 0.95 }],
  ['commit', local, { answerMs: 1.5, cpuShare: 0.2 }],
  ['server', local, { answerMs: 10, cpuShare: 0.2 }],
  ['round trip', far, { answerMs: 25, cpuShare: 0.2 }],
  ['server', { ...local, commitMs: null }, { answerMs: 5, cpuShare: 0.2 }],
  [null, local, {}],
] as const)('says what bounds it: %s', (expected, baseline, parts) => {
  expect(figuresOf([sample(parts)], baseline)[0]?.boundBy).toBe(expected)
})
