/**
 * The engine against its model: random runs of everything one may do, compared after each step.
 *
 *     npm run test:model                       2,000 runs of each kind
 *     DUEQ_SEED=… npx vitest run test/model    the runs of that seed again; a failure prints its seed and the shrunk run
 *     DUEQ_MODEL_SHRINK=off                    a failure is printed as it was drawn, at once
 */
import fc from 'fast-check'
import { afterAll, beforeAll, describe, it } from 'vitest'
import { openStage, type Stage } from './run.js'
import { alone, together } from './scenes.js'

const seed = process.env['DUEQ_SEED']
const endOnFailure = process.env['DUEQ_MODEL_SHRINK'] === 'off'
const numRuns = Number(process.env['DUEQ_MODEL_RUNS'] ?? 50)
// Shrinking runs a few hundred scripts more.
const deadlineMs = 120_000 + numRuns * 1_000

describe.each([
  { kind: 'one session', sessionCount: 1, script: alone },
  { kind: 'sessions with open transactions', sessionCount: 3, script: together },
])('the engine and its model agree', ({ kind, sessionCount, script }) => {
  let stage: Stage
  beforeAll(async () => {
    stage = await openStage(sessionCount)
  })
  afterAll(() => stage?.close())

  it(
    `promises 1 to 5, 7 and 8: whatever ${kind} may do, each verb answers and leaves behind what the model says`,
    () =>
      fc.assert(
        fc.asyncProperty(script, (run) => stage.run(run)),
        { numRuns, endOnFailure, ...(seed === undefined ? {} : { seed: Number(seed) }) },
      ),
    deadlineMs,
  )
})
