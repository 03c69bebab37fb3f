/**
 * How much is fuzzed, and from which seed.
 *
 *     DUEQ_FUZZ_CASES  cases of all properties together; `npm run test:fuzz` sets 100,000
 *     DUEQ_SEED        the seed of a run that failed; it is in the text of the failure
 *
 * Each property has a share of the cases. A case that takes longer than its deadline fails: nothing may hang.
 */
import fc from 'fast-check'
import { afterAll, beforeAll, expect, it } from 'vitest'
import { cooked } from './hostile.js'

const total = Number(process.env['DUEQ_FUZZ_CASES'] ?? 3_000)
const seed = Number(process.env['DUEQ_SEED'] ?? Math.floor(Math.random() * 2 ** 31))
const caseDeadlineMs = 10_000

/** The shares of all properties together. */
const shares = 1400

/** A property as a test. `share`: how many of 1400 cases are its own. */
export function fuzz<T extends [unknown, ...unknown[]]>(
  title: string,
  share: number,
  arbitraries: { readonly [K in keyof T]: fc.Arbitrary<T[K]> },
  holds: (...args: T) => Promise<unknown> | unknown,
): void {
  const numRuns = Math.max(2, Math.round((total * share) / shares))
  it(
    `${title} (${numRuns} cases)`,
    async () => {
      const property = fc.asyncProperty<T>(...arbitraries, async (...args) => {
        await holds(...(args.map(cooked) as T))
      })
      const result = await fc.check(property, { seed, numRuns, timeout: caseDeadlineMs, endOnFailure: false })
      if (!result.failed) return
      const report = await fc.asyncDefaultReportMessage(result)
      throw new Error(`DUEQ_SEED=${seed} DUEQ_FUZZ_CASES=${total} repeats this.\n${report}`, {
        cause: result.errorInstance,
      })
    },
    60_000 + numRuns * 1_000,
  )
}

/** Fails the file where the process was warned of something, or a promise was rejected that nobody looks at. */
export function expectQuietProcess(): void {
  const heard: unknown[] = []
  const note = (what: unknown): void => void heard.push(what)
  beforeAll(() => {
    process.on('warning', note).on('unhandledRejection', note)
  })
  afterAll(async () => {
    await new Promise((resolve) => setTimeout(resolve, 50))
    process.off('warning', note).off('unhandledRejection', note)
    expect(heard).toEqual([])
  })
}
