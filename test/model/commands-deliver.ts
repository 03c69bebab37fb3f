/** The commands that bring messages in and hand them out: enqueue, dequeue, poll. */
import fc from 'fast-check'
import { type Claim, poll } from './claim.js'
import { type Command, command, lease, type Moment, maybe, planned, queueName, seconds } from './command.js'
import { type Draft, type Enqueued, enqueue, enqueueMany, type Message } from './model.js'
import { array, arrayUnlessNull, call, instant, interval, microseconds, type Row, since, text } from './sql.js'

/** `at` counts from the moment it is planned; with a delay beside it, it is refused. */
const draft: fc.Arbitrary<Draft> = fc
  .record({
    payload: fc.nat(99),
    due: fc.oneof(
      { weight: 25, arbitrary: fc.constant({ delay: null, at: null }) },
      { weight: 6, arbitrary: seconds(0, 1, 3, 10).map((delay) => ({ delay, at: null })) },
      { weight: 5, arbitrary: seconds(-5, 0, 5).map((at) => ({ delay: null, at })) },
      { weight: 1, arbitrary: fc.constantFrom({ delay: 1, at: 1 }, { delay: -1, at: null }) },
    ),
    priority: fc.constantFrom(0, 0, 0, 0, 0, 0, -7, 3),
    dedupKey: fc.constantFrom(null, null, null, 'k', 'l'),
  })
  .map(({ due, ...rest }) => ({ ...rest, ...due }))

const placed = (given: Draft, { world }: Moment) => (given.at === null ? given : { ...given, at: world.now + given.at })
const enqueued = (moment: Moment) => (row: Row, expected: Enqueued | undefined) => ({
  id: moment.modelId(row['id'], row['created'] === true ? expected?.id : undefined),
  created: row['created'],
})

const enqueueCommand = command('enqueue', fc.record({ queue: queueName, draft }), (given, moment) => {
  const { queue } = given
  const { payload, delay, at, priority, dedupKey, ...rest } = placed(given.draft, moment)
  const verb = call('enqueue', {
    queue: text(queue),
    payload: text(String(payload)),
    delay: interval(delay),
    at: instant(moment.origin, at),
    priority: String(priority),
    dedup_key: text(dedupKey),
  })
  return planned(
    `select id, created from ${verb}`,
    (world) => enqueue(world, queue, { payload, delay, at, priority, dedupKey, ...rest }),
    ([row], expected) => enqueued(moment)(row!, expected),
  )
})

const enqueueManyCommand = command(
  'enqueue_many',
  fc.record({ queue: queueName, drafts: fc.array(draft, { minLength: 1, maxLength: 3 }) }),
  ({ queue, drafts }, moment) => {
    const all = drafts.map((one) => placed(one, moment))
    const verb = call('enqueue_many', {
      queue: text(queue),
      payloads: array(
        all.map(({ payload }) => text(String(payload))),
        'jsonb',
      ),
      delays: arrayUnlessNull(
        all.map(({ delay }) => interval(delay)),
        'interval',
      ),
      ats: arrayUnlessNull(
        all.map(({ at }) => instant(moment.origin, at)),
        'timestamptz',
      ),
      priorities: arrayUnlessNull(
        all.map(({ priority }) => (priority === 0 ? null : String(priority))),
        'integer',
      ),
      dedup_keys: arrayUnlessNull(
        all.map(({ dedupKey }) => text(dedupKey)),
        'text',
      ),
    })
    return planned(
      `select id, created from ${verb} order by ordinality`,
      (world) => enqueueMany(world, queue, all),
      (rows, expected) => rows.map((row, position) => enqueued(moment)(row, expected[position])),
    )
  },
)

const consumer = fc.constantFrom('ann', 'bob')
const max = fc.constantFrom(1, 1, 2, 3, 10)

const claimColumns = (origin: string) =>
  `id, attempt, payload, priority, ${since(origin, 'due_at')} as "dueAt", ${since(origin, 'enqueued_at')} as "enqueuedAt",
   ${since(origin, 'lease_ends_at')} as "readyAt", ${microseconds('lateness')} as lateness, failures, lapses`

const claimOf = ({ message, lateness }: Claim) => {
  const { id, attempt, payload, priority, dueAt, enqueuedAt, readyAt, failures, lapses }: Message = message
  return { id, attempt, payload, priority, dueAt, enqueuedAt, readyAt, lateness, failures, lapses }
}

const dequeueCommand = command(
  'dequeue',
  fc.record({
    queue: queueName,
    max: fc.oneof({ weight: 40, arbitrary: max }, { weight: 1, arbitrary: fc.constant(0) }),
    lease: maybe(lease),
    consumer,
  }),
  ({ queue, ...asked }, moment) => {
    const args = {
      queue: text(queue),
      max: `${asked.max}`,
      lease: interval(asked.lease),
      consumer: text(asked.consumer),
    }
    return planned(
      `select ${claimColumns(moment.origin)} from ${call('dequeue', args)}`,
      (world) => poll(world, queue, { ...asked, handlers: 1 }).claims.map(claimOf),
      (rows) => rows.map((row) => ({ ...row, id: moment.modelId(row['id']) })),
    )
  },
)

const pollCommand = command(
  'poll',
  fc.record({ queue: queueName, max, lease: maybe(lease), consumer, handlers: fc.constantFrom(1, 2, 4, 10) }),
  ({ queue, ...asked }, moment) => {
    const verb = call('poll', {
      queue: text(queue),
      max: `${asked.max}`,
      lease: interval(asked.lease),
      consumer: text(asked.consumer),
      handlers: `${asked.handlers}`,
    })
    return planned(
      `select ${claimColumns(moment.origin)}, is_suspect as "isSuspect", ${since(moment.origin, 'polled_at')} as "polledAt",
              ${since(moment.origin, 'next_ready_at')} as "nextReadyAt" from ${verb}
        order by poll.id is null, poll.priority, ready_since, poll.id`,
      (world) => {
        const { claims, nextReadyAt } = poll(world, queue, asked)
        return {
          claims: claims.map((claim) => ({ ...claimOf(claim), isSuspect: claim.isSuspect })),
          polledAt: world.now,
          nextReadyAt,
        }
      },
      (rows) => ({
        claims: rows
          .slice(0, -1)
          .map(({ polledAt: _, nextReadyAt: __, ...row }) => ({ ...row, id: moment.modelId(row['id']) })),
        polledAt: rows.at(-1)?.['polledAt'],
        nextReadyAt: rows.at(-1)?.['nextReadyAt'],
      }),
    )
  },
)

export const enqueueCommands: fc.WeightedArbitrary<Command>[] = [
  { weight: 3, arbitrary: enqueueCommand },
  { weight: 1, arbitrary: enqueueManyCommand },
]
export const claimCommands: fc.WeightedArbitrary<Command>[] = [
  { weight: 1, arbitrary: dequeueCommand },
  { weight: 1, arbitrary: pollCommand },
]
