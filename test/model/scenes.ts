/**
 * What happens in a run. Steps drawn one by one would mostly settle what nobody has leased, so a run is made of scenes: a
 * message is delivered and settled; a lease lapses; a transaction stays open while others go on.
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

/** The steps one after the other. Each may be left out: rarely when a run is drawn, and tried first when it shrinks. */
const scene = (...steps: readonly fc.Arbitrary<Step>[]): Scene =>
  fc.tuple(...steps.map((step) => fc.option(step, { freq: 30 }))).map((drawn) => drawn.filter((step) => step !== null))

const by = (session: fc.Arbitrary<number>, command: fc.Arbitrary<Command>): fc.Arbitrary<Step> =>
  fc.record({ session, command })

function scenesOf(session: fc.Arbitrary<number>): fc.WeightedArbitrary<readonly Step[]>[] {
  const enqueues = by(session, enqueue)
  const claims = by(session, claim)
  const settles = by(session, settle)
  const acts = by(session, anything)
  return [
    { weight: 5, arbitrary: scene(acts) },
    { weight: 5, arbitrary: scene(enqueues, claims, settles) },
    { weight: 3, arbitrary: scene(enqueues, travel, claims) },
    { weight: 3, arbitrary: scene(claims, settles, acts) },
    { weight: 4, arbitrary: scene(claims, travel, acts) },
    { weight: 4, arbitrary: scene(travel, claims, travel, claims, settles) },
    { weight: 2, arbitrary: scene(settles, by(session, operate), claims) },
    { weight: 2, arbitrary: scene(claims, travel, by(session, operate), acts) },
    { weight: 1, arbitrary: scene(by(session, pauseCommand), claims, acts, by(session, resumeCommand)) },
  ]
}

/** A transaction, and what all do meanwhile: mostly with the same few messages. */
const transaction: Scene = fc.nat(2).chain((number) => {
  const session = fc.constant(number)
  const isolation = fc.constantFrom('read committed', 'read committed', 'repeatable read')
  const inside = by(session, anything)
  const meanwhile = fc.oneof(
    { weight: 5, arbitrary: by(fc.nat(2), anything) },
    { weight: 1, arbitrary: travel as fc.Arbitrary<Step> },
  )
  return scene(
    fc.record({ session, begin: isolation }) as fc.Arbitrary<Step>,
    meanwhile,
    inside,
    inside,
    meanwhile,
    meanwhile,
    meanwhile,
    inside,
    fc.record({ session, end: fc.constantFrom('commit', 'rollback') }) as fc.Arbitrary<Step>,
  )
})

const scriptOf = (...scenes: fc.WeightedArbitrary<readonly Step[]>[]): fc.Arbitrary<Script> =>
  fc.record({
    settings,
    steps: fc.array(fc.oneof(...scenes), { minLength: 1, maxLength: 20, size: 'max' }).map((drawn) => drawn.flat()),
  })

const first = fc.constant(0)

/** One session that commits each statement. */
export const alone = scriptOf(...scenesOf(first), {
  weight: 1,
  arbitrary: scene(by(first, purgeCommand), by(first, dropCommand), by(first, createCommand)),
})

/** Three sessions, whose transactions may overlap: one that begins out of a scene ends with a later one, or never. */
export const together = scriptOf(
  ...scenesOf(fc.nat(2)),
  { weight: 12, arbitrary: transaction },
  { weight: 2, arbitrary: scene(fc.record({ session: fc.nat(2), begin: fc.constant('read committed' as const) })) },
)
