import fc from 'fast-check'
import { expect, it } from 'vitest'
import { createHint, type Recall } from '../../src/hint.js'

/** A row at its ready_at; announced: a notification has named it to this process. */
type Row = { readonly at: number; isAnnounced: boolean; isClaimed: boolean }
/** A look under way; `found` is the hint that it was given, once the database has worked on it. */
type Looking = { readonly recall: Recall; readonly from: number; found: string | null }

type Step =
  | { readonly type: 'insert'; readonly at: number }
  | { readonly type: 'announce' | 'run' | 'answer' | 'fail'; readonly which: number }
  | { readonly type: 'begin' | 'missed' }

const which = fc.nat(20)
const step: fc.Arbitrary<Step> = fc.oneof(
  { weight: 3, arbitrary: fc.record({ type: fc.constant('insert' as const), at: fc.integer({ min: 1, max: 50 }) }) },
  { weight: 3, arbitrary: fc.record({ type: fc.constant('announce' as const), which }) },
  { weight: 4, arbitrary: fc.record({ type: fc.constant('run' as const), which }) },
  { weight: 4, arbitrary: fc.record({ type: fc.constant('answer' as const), which }) },
  { weight: 1, arbitrary: fc.record({ type: fc.constant('fail' as const), which }) },
  { weight: 4, arbitrary: fc.constant({ type: 'begin' as const }) },
  { weight: 1, arbitrary: fc.constant({ type: 'missed' as const }) },
)

/** Looks claim two rows at most, in order, from their hint on; what is behind the last one claimed is left to the next. */
const most = 2

it('promise 6: whatever a notification has named, no later look is told to pass it over, with looks in any order', () => {
  fc.assert(
    fc.property(fc.array(step, { minLength: 5, maxLength: 60 }), (steps) => {
      const hint = createHint()
      const rows: Row[] = []
      const looks: Looking[] = []
      const pick = <T>(list: readonly T[], which: number): T | undefined => list[which % Math.max(list.length, 1)]
      const end = (look: Looking): void => void looks.splice(looks.indexOf(look), 1)

      for (const { type, ...given } of steps) {
        const { at = 0, which = 0 } = given as { at?: number; which?: number }
        const look = pick(looks, which)
        if (type === 'insert') rows.push({ at, isAnnounced: false, isClaimed: false })
        if (type === 'missed') {
          hint.drop()
          for (const row of rows) row.isAnnounced = true // from here on nothing may be passed over
        }
        if (type === 'announce') {
          const row = pick(
            rows.filter(({ isAnnounced }) => !isAnnounced),
            which,
          )
          if (!row) continue
          row.isAnnounced = true
          hint.woken(row.at)
        }
        if (type === 'begin') {
          const recall = hint.begin()
          const from = Math.min(Number(recall.hint ?? 0), recall.wokenFrom ?? Number.POSITIVE_INFINITY)
          for (const row of rows) if (row.isAnnounced && !row.isClaimed) expect(from).toBeLessThanOrEqual(row.at)
          looks.push({ recall, from, found: null })
        }
        if (type === 'run' && look && look.found === null) {
          const open = rows.filter((row) => !row.isClaimed && row.at >= look.from).sort((a, b) => a.at - b.at)
          const claimed = open.slice(0, most)
          for (const row of claimed) row.isClaimed = true
          look.found = String(claimed.length === most ? claimed[most - 1]!.at : 50)
        }
        if (type === 'answer' && look && look.found !== null) {
          look.recall.answered(look.found)
          end(look)
        }
        if (type === 'fail' && look) {
          look.recall.failed()
          for (const row of rows) row.isAnnounced = true
          end(look)
        }
      }
    }),
    { numRuns: 5_000 },
  )
})
