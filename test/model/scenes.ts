/**
 * What happens in a run. Steps drawn one by one would mostly settle what nobody has leased, so a run is made of scenes: a
 * message is delivered and settled; a lease lapses; a transaction stays open while others go on. Shrinking takes scenes away,
 * and steps out of them.
 */
import fc from 'fast-check'
import type { Command } from './command.js'
import { claimCommands, enqueueCommands } from './commands-deliver.js'
import {
  createCommand,
  dropCommand,
  operatorCommands,
  pauseCommand,
  purgeCommand,
  resumeCommand,
  settings,
} from './commands-operate.js'
import { settleCommands } from './commands-settle.js'
import { second } from './model.js'
import type { Script, Step, Travel } from './run.js'

const enqueue = fc.oneof(...enqueueCommands)
const claim = fc.oneof(...claimCommands)
const settle = fc.oneof(...settleCommands)
const operate = fc.oneof(...operatorCommands)
const anything = fc.oneof(
  { weight: 3, arbitrary: enqueue },
  { weight: 5, arbitrary: claim },
  { weight: 5, arbitrary: settle },
  { weight: 4, arbitrary: operate },
)

const travel: fc.Arbitrary<Travel> = fc.oneof(
  { weight: 1, arbitrary: fc.record({ travel: fc.constantFrom(1, 3, 10, 60, -1).map((seconds) => seconds * second) }) },
  { weight: 3, arbitrary: fc.record({ to: fc.nat(2), beside: fc.constantFrom(0, 0, -1, 1) }) },
)

type Scene = fc.Arbitrary<readonly Step[]>
const by = (session: fc.Arbitrary<number>, command: fc.Arbitrary<Command>): fc.Arbitrary<Step> =>
  fc.record({ session, command })

const scenesOf = (session: fc.Arbitrary<number>): fc.WeightedArbitrary<readonly Step[]>[] => {
  const [enqueues, claims, settles, operates] = [enqueue, claim, settle, operate].map((command) => by(session, command))
  const anyone = by(session, anything)
  return [
    { weight: 5, arbitrary: fc.tuple(anyone) },
    { weight: 5, arbitrary: fc.tuple(enqueues!, claims!, settles!) },
    { weight: 3, arbitrary: fc.tuple(enqueues!, travel, claims!) },
    { weight: 3, arbitrary: fc.tuple(claims!, settles!, anyone) },
    { weight: 4, arbitrary: fc.tuple(claims!, travel, anyone) },
    { weight: 4, arbitrary: fc.tuple(travel, claims!, travel, claims!, settles!) },
    { weight: 2, arbitrary: fc.tuple(settles!, operates!, claims!) },
    { weight: 1, arbitrary: fc.tuple(by(session, pauseCommand), claims!, anyone, by(session, resumeCommand)) },
  ]
}

/** A transaction, and what others do meanwhile: mostly with the same few messages. */
const transaction: Scene = fc
  .record({
    session: fc.nat(2),
    isolation: fc.constantFrom('read committed', 'read committed', 'repeatable read'),
    before: fc.array(by(fc.nat(2), anything), { maxLength: 1 }),
    inside: fc.array(anything, { minLength: 1, maxLength: 3 }),
    meanwhile: fc.array(fc.oneof({ weight: 5, arbitrary: by(fc.nat(2), anything) }, { weight: 1, arbitrary: travel }), {
      maxLength: 4,
    }),
    after: fc.array(anything, { maxLength: 1 }),
    end: fc.constantFrom('commit', 'rollback'),
  })
  .map(({ session, isolation, before, inside, meanwhile, after, end }): readonly Step[] => [
    { session, begin: isolation as 'read committed' },
    ...before,
    ...inside.map((command) => ({ session, command })),
    ...meanwhile,
    ...after.map((command) => ({ session, command })),
    { session, end: end as 'commit' },
  ])

const scriptOf = (...scenes: fc.WeightedArbitrary<readonly Step[]>[]): fc.Arbitrary<Script> =>
  fc.record({
    settings,
    steps: fc.array(fc.oneof(...scenes), { minLength: 1, maxLength: 20, size: 'max' }).map((all) => all.flat()),
  })

/** One session that commits each statement. */
export const alone = scriptOf(...scenesOf(fc.constant(0)), {
  weight: 1,
  arbitrary: fc.tuple(...[purgeCommand, dropCommand, createCommand].map((command) => by(fc.constant(0), command))),
})

/** Three sessions; their transactions may overlap. */
export const together = scriptOf(
  ...scenesOf(fc.nat(2)),
  { weight: 12, arbitrary: transaction },
  { weight: 2, arbitrary: fc.tuple(fc.record({ session: fc.nat(2), begin: fc.constant('read committed' as const) })) },
)
