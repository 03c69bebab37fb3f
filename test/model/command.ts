/**
 * What a run is made of: commands as plain data, so that a failing run shrinks and reads well. A command names its messages
 * by position ("the second leased one") and is planned at the moment it runs: the SQL, what the model does, and how to read
 * the engine's answer in the model's terms.
 */
import fc from 'fast-check'
import type { Lease } from './claim.js'
import { second, type World } from './model.js'
import { answer, type Row } from './sql.js'

/** Which message: the nth leased one, or the nth there ever was; with its attempt, or one beside it. */
export type Target = { readonly of: 'leased' | 'any'; readonly nth: number; readonly attempt: number }

/** What a command may ask about the run when it is planned. Ids are the model's unless they say otherwise. */
export type Moment = {
  /** The acting session's world. */
  readonly world: World
  /** Instant 0 of the run, as SQL. */
  readonly origin: string
  pick(target: Target): Lease
  /** The dead letters at these positions; null for null. */
  pickDead(positions: readonly number[] | null): readonly number[] | null
  engineId(id: number): string
  /** The model's id of the engine's; `created` is the one that the model has given a message just created. */
  modelId(engineId: unknown, created?: number): number
}

export type Plan = {
  readonly sql: string
  readonly model: (world: World) => unknown
  readonly read: (rows: readonly Row[], expected: unknown) => unknown
}
export type Command = { readonly says: string; readonly plan: (moment: Moment) => Plan }

/** A command that prints as its verb and arguments. */
export function command<Args>(verb: string, args: fc.Arbitrary<Args>, plan: (args: Args, moment: Moment) => Plan) {
  return args.map((given): Command => {
    const says = `${verb} ${fc.stringify(given)}`
    return Object.assign(Object.create({ [fc.toStringMethod]: () => says }), {
      says,
      plan: (moment: Moment) => plan(given, moment),
    })
  })
}

export function planned<Outcome>(
  sql: string,
  model: (world: World) => Outcome,
  read: (rows: readonly Row[], expected: Outcome) => unknown = answer,
): Plan {
  return { sql, model, read: read as Plan['read'] }
}

export const seconds = (...values: readonly number[]) => fc.constantFrom(...values.map((value) => value * second))
export const maybe = <T>(arbitrary: fc.Arbitrary<T>) => fc.option(arbitrary, { freq: 2 })
export const queueName = fc.constantFrom(...Array<string>(19).fill('mail'), 'news')
export const target: fc.Arbitrary<Target> = fc.record({
  of: fc.constantFrom('leased', 'leased', 'leased', 'leased', 'any'),
  nth: fc.nat(3),
  attempt: fc.constantFrom(...Array<number>(10).fill(0), -1, 1),
})
export const anyMessage: fc.Arbitrary<Target> = fc.record({
  of: fc.constantFrom('any', 'leased'),
  nth: fc.nat(5),
  attempt: fc.constant(0),
})
// Half a second is no lease: refused.
export const lease = fc.oneof({ weight: 30, arbitrary: seconds(4, 1, 10, 30) }, { weight: 1, arbitrary: seconds(0.5) })
