/** The commands of a consumer that holds leases, or believes that it does: ack, nack, release, dead_letter, extend. */
import fc from 'fast-check'
import { ackMany, extendMany, type Lease, nackMany, releaseMany } from './claim.js'
import { type Command, command, lease, type Moment, maybe, planned, seconds, type Target, target } from './command.js'
import { ack, deadLetter, extend, nack, release, type World } from './model.js'
import { array, ask, call, interval, since, text } from './sql.js'

const targets = fc.array(target, { maxLength: 4 })
const error = maybe(fc.constantFrom('timeout', 'refused'))

const settle = <Args extends { readonly of: Target }>(
  verb: string,
  args: fc.Arbitrary<Args>,
  further: (args: Args, moment: Moment) => Readonly<Record<string, string | null>>,
  model: (world: World, lease: Lease, args: Args) => unknown,
) =>
  command(verb, args, (given, moment) => {
    const held = moment.pick(given.of)
    const key = { id: moment.engineId(held.id), attempt: `${held.attempt}` }
    return planned(ask(verb, { ...key, ...further(given, moment) }), (world) => model(world, held, given))
  })

const delay = seconds(0, 0, 1, 5)
const ackCommand = settle(
  'ack',
  fc.record({ of: target }),
  () => ({}),
  (world, { id, attempt }) => ack(world, id, attempt),
)
const nackCommand = settle(
  'nack',
  fc.record({ of: target, error, delay: maybe(delay) }),
  (args) => ({ error: text(args.error), delay: interval(args.delay) }),
  (world, { id, attempt }, args) => nack(world, id, attempt, args.error, args.delay),
)
const releaseCommand = settle(
  'release',
  fc.record({ of: target, delay: fc.option(delay, { freq: 1 }) }),
  (args) => ({ delay: interval(args.delay) }),
  (world, { id, attempt }, args) => release(world, id, attempt, args.delay),
)
const deadLetterCommand = settle(
  'dead_letter',
  fc.record({ of: target, reason: fc.constantFrom('unreadable', 'gone'), error }),
  (args) => ({ reason: text(args.reason), error: text(args.error) }),
  (world, { id, attempt }, args) => deadLetter(world, id, attempt, args.reason, args.error),
)

const extendCommand = command('extend', fc.record({ of: target, lease: maybe(lease) }), (given, moment) => {
  const { id, attempt } = moment.pick(given.of)
  const verb = call('extend', { id: moment.engineId(id), attempt: `${attempt}`, lease: interval(given.lease) })
  return planned(`select ${since(moment.origin, verb)} as answer`, (world) => extend(world, id, attempt, given.lease))
})

/** The _many forms: one row for each lease that they did not find free and held. */
const settleMany = <Args extends { readonly of: readonly Target[] }>(
  verb: string,
  args: fc.Arbitrary<Args>,
  further: (args: Args) => Readonly<Record<string, string | null>>,
  model: (world: World, leases: readonly Lease[], args: Args) => unknown,
) =>
  command(verb, args, (given, moment) => {
    const leases = given.of.map((one) => moment.pick(one))
    const ids = array(
      leases.map(({ id }) => moment.engineId(id)),
      'bigint',
    )
    const attempts = array(
      leases.map(({ attempt }) => `${attempt}`),
      'integer',
    )
    return planned(
      `select id, outcome, attempt from ${call(verb, { ids, attempts, ...further(given) })}`,
      (world) => model(world, leases, given),
      (rows) => rows.map((row) => ({ ...row, id: moment.modelId(row['id']) })),
    )
  })

const ackManyCommand = settleMany(
  'ack_many',
  fc.record({ of: targets }),
  () => ({}),
  (world, leases) => ackMany(world, leases),
)
const extendManyCommand = settleMany(
  'extend_many',
  fc.record({ of: targets, lease }),
  (args) => ({ lease: interval(args.lease) }),
  (world, leases, args) => extendMany(world, leases, args.lease),
)

/** One for each of at most four leases, or none at all. */
const four = <T>(one: fc.Arbitrary<T>) => maybe(fc.tuple(one, one, one, one))
const nackManyCommand = settleMany(
  'nack_many',
  fc.record({ of: targets, errors: four(error), delays: four(maybe(delay)) }),
  ({ of, errors, delays }) => ({
    errors: errors && array(errors.slice(0, of.length).map(text), 'text'),
    delays: delays && array(delays.slice(0, of.length).map(interval), 'interval'),
  }),
  (world, leases, { errors, delays }) => nackMany(world, leases, errors, delays?.slice(0, leases.length) ?? null),
)
const releaseManyCommand = settleMany(
  'release_many',
  fc.record({ of: targets, delays: four(maybe(delay)) }),
  ({ of, delays }) => ({ delays: delays && array(delays.slice(0, of.length).map(interval), 'interval') }),
  (world, leases, { delays }) => releaseMany(world, leases, delays?.slice(0, leases.length) ?? null),
)

export const settleCommands: fc.WeightedArbitrary<Command>[] = [
  { weight: 3, arbitrary: ackCommand },
  { weight: 10, arbitrary: nackCommand },
  { weight: 4, arbitrary: releaseCommand },
  { weight: 2, arbitrary: deadLetterCommand },
  { weight: 4, arbitrary: extendCommand },
  { weight: 2, arbitrary: ackManyCommand },
  { weight: 3, arbitrary: extendManyCommand },
  { weight: 4, arbitrary: nackManyCommand },
  { weight: 2, arbitrary: releaseManyCommand },
]
