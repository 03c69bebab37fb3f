// Delayed messages that become due one after the other. Lateness counts from the call of enqueue plus the delay, by the
// clock of the machine: it includes the way of the enqueue to the database, and "early" is never a matter of rounding.
import { percentile } from '../harness/figures.mjs'
import { monotonicMs } from '../harness/time.mjs'

/** @type {import('../harness/scenario.js').Scenario} */
export default {
  name: 'lateness',
  title: 'Lateness of delayed messages',
  floors: ['floor-notify'],
  metrics: ['p50', 'p99', 'early', 'oldest'],
  params: { count: 2000, leadMs: 5000, spreadMs: 20_000, bytes: 100, limitSeconds: 15 },
  quick: { count: 100, leadMs: 500, spreadMs: 1000 },
  about: 'One consumer process, waiting. Enqueued one by one in advance, each with its own delay.',

  groups: () => [{ variant: 'delayed' }],

  async run(stage, { count, leadMs, spreadMs, bytes, limitSeconds }, { variant }) {
    const clocks = () => Date.now() - monotonicMs()
    const before = clocks()
    const consumer = await stage.consumer()
    const producer = await stage.producers({ bytes })
    const { ms } = await producer.call('enqueueDelayed', { count, leadMs, spreadMs })
    const handled = await stage.untilHandled([consumer], count, leadMs + spreadMs - ms + limitSeconds * 1000)
    if (handled !== count) throw new Error(`${handled} of ${count} messages were handled.`)
    const { latenesses } = await consumer.call('takeNotes')
    return [
      {
        variant,
        metrics: {
          p50: percentile(latenesses, 0.5),
          p99: percentile(latenesses, 0.99),
          early: latenesses.filter((/** @type {number} */ late) => late < 0).length,
          oldest: percentile(latenesses, 1),
        },
        // The database keeps time by the wall clock: where that is being set right meanwhile, it shows as lateness.
        details: { wallClockDriftMs: clocks() - before },
      },
    ]
  },
}
