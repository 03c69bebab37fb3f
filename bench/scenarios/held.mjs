// A steady load for a minute, with and without a transaction elsewhere that holds an old snapshot, as a long report or a dump
// does. While it is held, vacuum removes nothing that was claimed or settled since.
//
// Dequeue is the duration of the claim statements as the consumer's process sees them, in the first and in the last window.
// In the middle one transaction enqueues, and commits 5 s later: a message that appears behind everything already claimed.
import { percentile, within } from '../harness/figures.mjs'
import { costs } from '../harness/metrics.mjs'
import { pause } from '../harness/time.mjs'

/** @type {import('../harness/scenario.js').Scenario} */
export default {
  name: 'held',
  title: 'Steady load, with and without a held snapshot',
  floors: ['floor-notify'],
  metrics: [
    'lastP50',
    'firstP50',
    'growthP50',
    'firstP99',
    'lastP99',
    'growthP99',
    'kept',
    'p99',
    'oldest',
    'lateCommit',
    'serverUs',
    'clientUs',
  ],
  params: { perSecond: [2000, 5000], seconds: 60, windowSeconds: 10, commitAfterSeconds: 5, bytes: 100 },
  quick: { perSecond: [1000], seconds: 3, windowSeconds: 1, commitAfterSeconds: 0.5 },
  about: 'One producer process in bulk every 10 ms, one consumer process. "Latest message" is from enqueue to handler.',

  groups: ({ perSecond }) =>
    perSecond.flatMap((/** @type {number} */ rate) => [
      { rate, isHeld: false, variant: `${rate.toLocaleString('en')}/s` },
      { rate, isHeld: true, variant: `${rate.toLocaleString('en')}/s, snapshot held` },
    ]),

  async run(stage, { seconds, windowSeconds, commitAfterSeconds, bytes }, { rate, isHeld, variant }) {
    const consumer = await stage.consumer({ isTimingClaims: true })
    const producer = await stage.producers({ bytes, callers: 8 })
    await producer.call('enqueueAtRate', { perSecond: rate, seconds: Math.min(2, seconds / 2) })
    await pause(500)
    await consumer.call('takeNotes')
    await stage.settle()

    const release = isHeld ? await holdSnapshot(stage) : async () => {}
    const late = stage.system.canJoinTransactions
      ? commitLate(stage, { seconds, commitAfterSeconds, bytes })
      : undefined
    late?.catch(() => {}) // where the run fails before it is awaited, that failure says more
    const measured = await stage.measured([producer, consumer], async () => {
      const sent = await producer.call('enqueueAtRate', { perSecond: rate, seconds })
      await stage.untilHandled([consumer], sent.count, 10_000)
      return sent
    })
    const committedAt = await late
    await pause(100)
    const notes = await consumer.call('takeNotes')
    await release()

    const { start } = measured.result
    const end = start + seconds * 1000
    const first = within(notes.claims, notes.claimInstants, start, start + windowSeconds * 1000)
    const last = within(notes.claims, notes.claimInstants, end - windowSeconds * 1000, end)
    const handledInTime = notes.instants.filter((/** @type {number} */ at) => at < end + 1000).length
    const [firstP50, lastP50] = [percentile(first, 0.5), percentile(last, 0.5)]
    const [firstP99, lastP99] = [percentile(first, 0.99), percentile(last, 0.99)]
    return [
      {
        variant,
        metrics: {
          firstP50,
          lastP50,
          growthP50: lastP50 / firstP50,
          firstP99,
          lastP99,
          growthP99: lastP99 / firstP99,
          kept: (100 * handledInTime) / (rate * seconds),
          p99: percentile(notes.latenesses, 0.99),
          oldest: percentile(notes.latenesses, 1),
          lateCommit: committedAt === undefined ? Number.NaN : notes.lateAt - committedAt,
          ...costs(measured, notes.handled),
        },
        details: { claimP50ByTenth: tenths(notes, start, end) },
      },
    ]
  },
}

// --- internal ---

/** Gives the function that ends it. @param {import('../harness/stage.mjs').Stage} stage */
async function holdSnapshot({ sql }) {
  const session = await sql.reserve()
  await session`begin isolation level repeatable read`
  // A transaction id as well: the snapshot of one that only reads is passed over by some of vacuum's work.
  await session`select pg_current_xact_id(), count(*) from pg_class`
  return async () => {
    await session`rollback`
    session.release()
  }
}

/**
 * @param {import('../harness/stage.mjs').Stage} stage
 * @param {{ seconds: number, commitAfterSeconds: number, bytes: number }} options
 * @returns {Promise<number>}
 */
async function commitLate(stage, { seconds, commitAfterSeconds, bytes }) {
  const producer = await stage.producers({ bytes, isTransactional: true })
  await pause((seconds * 1000) / 3)
  return producer.call('commitLater', { waitMs: commitAfterSeconds * 1000 })
}

/** @param {{ claims: Float64Array, claimInstants: Float64Array }} notes @param {number} start @param {number} end */
function tenths({ claims, claimInstants }, start, end) {
  const length = (end - start) / 10
  return Array.from({ length: 10 }, (_, i) =>
    percentile(within(claims, claimInstants, start + i * length, start + (i + 1) * length), 0.5),
  )
}
