// Bulk enqueues of 1,000 messages due now, one call and four calls at a time.
import { costs } from '../harness/metrics.mjs'

/** @type {import('../harness/scenario.js').Scenario} */
export default {
  name: 'bulk',
  title: 'Bulk enqueue by 1,000',
  floors: ['floor'],
  metrics: ['rate', 'serverUs', 'clientUs'],
  params: { parallel: [1, 4], seconds: 4, warmSeconds: 0.5, bytes: 100, batch: 1000 },
  quick: { parallel: [1], seconds: 0.5, warmSeconds: 0.2 },
  about: 'Messages of 100 B, due now, 1,000 in a call.',

  groups: ({ parallel }) =>
    parallel.map((/** @type {number} */ calls) => ({
      calls,
      variant: calls === 1 ? 'one call at a time' : `${calls} calls at a time`,
    })),

  async run(stage, { seconds, warmSeconds, bytes, batch }, { calls, variant }) {
    const producer = await stage.producers({ callers: calls, bytes })
    await producer.call('enqueueInBulk', { batch, parallel: calls, seconds: warmSeconds })
    const measured = await stage.measured([producer], () =>
      producer.call('enqueueInBulk', { batch, parallel: calls, seconds }),
    )
    const { count, ms } = measured.result
    return [{ variant, metrics: { rate: (count / ms) * 1000, ...costs(measured, count) } }]
  },
}
