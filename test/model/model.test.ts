/**
 * The engine against its model: random runs of everything one may do, compared after each step.
 *
 *     npm run test:model                       2,000 runs of each kind
 *     DUEQ_SEED=… npx vitest run test/model    the runs of that seed again; a failure prints its seed and the shrunk run
 */
import fc from 'fast-check'
import { afterAll, beforeAll, describe, it } from 'vitest'
import { deliverCommands } from './commands-deliver.js'
import { dropCommand, operatorCommands } from './commands-operate.js'
import { settleCommands } from './commands-settle.js'
import { second } from './model.js'
import { openStage, type Stage, type Step, type Travel } from './run.js'

const seed = process.env['DUEQ_SEED']
const numRuns = Number(process.env['DUEQ_MODEL_RUNS'] ?? 60)

const travel: fc.Arbitrary<Travel> = fc.oneof(
  { weight: 2, arbitrary: fc.record({ travel: fc.constantFrom(1, 3, 10, 60, -1).map((seconds) => seconds * second) }) },
  { weight: 5, arbitrary: fc.record({ to: fc.nat(3), beside: fc.constantFrom(-1, 0, 0, 1) }) },
)

const commands = [...deliverCommands, ...settleCommands, ...operatorCommands]

/** One session that commits each statement. */
const alone = fc.oneof(
  { weight: 14, arbitrary: travel },
  {
    weight: 80,
    arbitrary: fc.record({
      session: fc.constant(0),
      command: fc.oneof(...commands, { weight: 2, arbitrary: dropCommand }),
    }),
  },
)

/** Three sessions, whose transactions stay open while the others go on. */
const together = fc.oneof(
  { weight: 9, arbitrary: travel },
  { weight: 70, arbitrary: fc.record({ session: fc.nat(2), command: fc.oneof(...commands) }) },
  {
    weight: 10,
    arbitrary: fc.record({
      session: fc.nat(2),
      begin: fc.constantFrom('read committed', 'read committed', 'repeatable read'),
    }),
  },
  { weight: 7, arbitrary: fc.record({ session: fc.nat(2), end: fc.constantFrom('commit', 'commit', 'rollback') }) },
)

describe.each([
  { kind: 'one session', sessionCount: 1, step: alone as fc.Arbitrary<Step> },
  { kind: 'sessions with open transactions', sessionCount: 3, step: together as fc.Arbitrary<Step> },
])('the engine and its model agree', ({ kind, sessionCount, step }) => {
  let stage: Stage
  beforeAll(async () => {
    stage = await openStage(sessionCount)
  })
  afterAll(() => stage?.close())

  it(
    `promises 1 to 5, 7 and 8: whatever ${kind} may do, each verb answers and leaves behind what the model says`,
    () =>
      fc.assert(
        fc.asyncProperty(fc.array(step, { minLength: 1, maxLength: 40, size: 'max' }), (steps) => stage.run(steps)),
        { numRuns, ...(seed === undefined ? {} : { seed: Number(seed) }) },
      ),
    600_000,
  )
})
