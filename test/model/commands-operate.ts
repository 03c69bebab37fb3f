/** The commands of queues and operators. */
import fc from 'fast-check'
import { anyMessage, type Command, command, type Moment, maybe, planned, queueName, seconds } from './command.js'
import { type Settings, second, type World } from './model.js'
import {
  cancel,
  createQueue,
  dropQueue,
  pauseQueue,
  purge,
  purgeDead,
  redrive,
  reschedule,
  resumeQueue,
} from './operate.js'
import { answer, array, ask, call, instant, interval, text } from './sql.js'

const eitherQueue = fc.constantFrom('mail', 'mail', 'mail', 'news')

/** Small budgets and short times, so that a short run uses them up. */
export const settings: fc.Arbitrary<Partial<Settings>> = fc.record(
  {
    lease: seconds(10, 1, 20),
    maxAttempts: fc.constantFrom(2, 3, 1, 4, 6),
    backoffBase: seconds(0, 1, 3),
    backoffMax: seconds(60, 60, 4, 3),
    pollInterval: seconds(1, 60),
    maxDepth: fc.constantFrom(null, null, 2, 3, 6),
  },
  { requiredKeys: [] },
)

export function creating(queue: string, given: Partial<Settings>): Command {
  const sql = ask('create_queue', {
    queue: text(queue),
    lease: interval(given.lease ?? null),
    max_attempts: given.maxAttempts === undefined ? null : `${given.maxAttempts}`,
    backoff_base: interval(given.backoffBase ?? null),
    backoff_max: interval(given.backoffMax ?? null),
    poll_interval: interval(given.pollInterval ?? null),
    max_depth: given.maxDepth === undefined ? null : `${given.maxDepth ?? 0}`,
  })
  return { says: `create_queue ${queue}`, plan: () => planned(sql, (world) => createQueue(world, queue, given)) }
}

/** Now and then with a base above the longest back-off. */
export const createCommand = command(
  'create_queue',
  fc.record({ queue: eitherQueue, settings, backoffBase: fc.constantFrom(...Array<null>(5).fill(null), 100 * second) }),
  ({ queue, settings: given, backoffBase }, moment) =>
    creating(queue, backoffBase === null ? given : { ...given, backoffBase }).plan(moment),
)

/** A verb of a queue without further arguments. */
const ofQueue = (verb: string, model: (world: World, queue: string) => unknown) =>
  command(verb, fc.record({ queue: queueName }), ({ queue }) =>
    planned(ask(verb, { queue: text(queue) }), (world) => model(world, queue)),
  )

const cancelCommand = command('cancel', fc.record({ of: anyMessage }), ({ of }, moment) => {
  const { id } = moment.pick(of)
  return planned(ask('cancel', { id: moment.engineId(id) }), (world) => cancel(world, id))
})

const rescheduleCommand = command(
  'reschedule',
  fc.record({ of: anyMessage, delay: maybe(seconds(0, 2, 20)), in: fc.option(seconds(-3, 8), { freq: 1 }) }),
  (given, moment) => {
    const { id } = moment.pick(given.of)
    const at = given.in === null ? null : moment.world.now + given.in
    const args = { id: moment.engineId(id), delay: interval(given.delay), at: instant(moment.origin, at) }
    return planned(ask('reschedule', args), (world) => reschedule(world, id, given.delay, at))
  },
)

/** Some dead letters by their positions, or all. */
const named = fc.option(fc.array(fc.nat(5), { maxLength: 3 }), { freq: 2 })
const some = fc.record({ queue: eitherQueue, named, max: fc.constantFrom(1, 2, 1000) })

/** The ids of the model at these positions, and the same as an array of the engine; null: all. */
function deadOf(moment: Moment, positions: readonly number[] | null) {
  const ids = moment.pickDead(positions)
  const engineIds = ids?.map((id) => moment.engineId(id)) ?? null
  return { ids, list: engineIds && array(engineIds, 'bigint') }
}

const redriveCommand = command('redrive', some, ({ queue, named: positions, max }, moment) => {
  const { ids, list } = deadOf(moment, positions)
  return planned(
    `select dead_id, id from ${call('redrive', { queue: text(queue), ids: list, max: `${max}` })}`,
    (world) => redrive(world, queue, ids, max),
    (rows, expected) =>
      rows.map((row, position) => ({
        deadId: moment.modelId(row['dead_id']),
        id: moment.modelId(row['id'], expected[position]?.id),
      })),
  )
})

const purgeDeadCommand = command('purge_dead', some, ({ queue, named: positions, max }, moment) => {
  const { ids, list } = deadOf(moment, positions)
  return planned(
    ask('purge_dead', { queue: text(queue), ids: list, max: `${max}` }),
    (world) => purgeDead(world, queue, ids, max),
    (rows) => Number(answer(rows)),
  )
})

export const purgeCommand = command(
  'purge',
  fc.record({ queue: queueName, leased: fc.boolean() }),
  ({ queue, leased }) =>
    planned(
      ask('purge', { queue: text(queue), include_leased: `${leased}` }),
      (world) => purge(world, queue, leased),
      (rows) => Number(answer(rows)),
    ),
)

export const pauseCommand = ofQueue('pause_queue', pauseQueue)
export const resumeCommand = ofQueue('resume_queue', resumeQueue)

export const operatorCommands: fc.WeightedArbitrary<Command>[] = [
  { weight: 6, arbitrary: createCommand },
  { weight: 6, arbitrary: cancelCommand },
  { weight: 12, arbitrary: rescheduleCommand },
  { weight: 12, arbitrary: redriveCommand },
  { weight: 1, arbitrary: purgeCommand },
  { weight: 2, arbitrary: purgeDeadCommand },
  { weight: 1, arbitrary: pauseCommand },
  { weight: 2, arbitrary: resumeCommand },
]

/** Apart: it blocks the writers of all queues, so a run with open transactions leaves it out. */
export const dropCommand: fc.Arbitrary<Command> = ofQueue('drop_queue', (world, queue) => {
  dropQueue(world, queue)
  // Of type void: an empty text.
  return ''
})
