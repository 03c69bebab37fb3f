// Larger payloads: 32 callers enqueue singly for a time, then one process drains what they enqueued. The text is random, so
// that compression saves little.
import { drain } from '../harness/draining.mjs'
import { costs } from '../harness/metrics.mjs'

/** @type {import('../harness/scenario.js').Scenario} */
export default {
  name: 'payloads',
  title: 'Larger payloads',
  floors: ['floor'],
  metrics: ['rate', 'enqueueRate', 'serverUs', 'clientUs', 'handled'],
  params: {
    sizes: [
      { bytes: 1500, count: 30_000 },
      { bytes: 10_000, count: 10_000 },
      { bytes: 200_000, count: 1000 },
    ],
    callers: 32,
    seconds: 5,
    limitSeconds: 30,
  },
  quick: { sizes: [{ bytes: 10_000, count: 200 }], callers: 8, seconds: 1, limitSeconds: 10 },
  about:
    'Messages/s of the drain by one process; before it 32 callers enqueued these messages one by one. The CPU is that of both.',

  groups: ({ sizes }) =>
    sizes.map((/** @type {{ bytes: number }} */ size) => ({ ...size, variant: `${size.bytes / 1000} kB` })),

  async run(stage, { callers, seconds, limitSeconds }, { bytes, count: most, variant }) {
    const producer = await stage.producers({ callers, bytes })
    const measured = await stage.measured([producer], () =>
      producer.call('enqueueSingly', { callers, seconds, count: most }),
    )
    const { count, ms } = measured.result
    await stage.close([producer])
    await stage.settle()
    const drained = await drain(stage, { count, limitMs: limitSeconds * 1000 })
    const enqueued = costs(measured, count)
    return [
      {
        variant,
        metrics: {
          ...drained,
          enqueueRate: (count / ms) * 1000,
          serverUs: drained.serverUs + enqueued.serverUs,
          clientUs: drained.clientUs + enqueued.clientUs,
        },
      },
    ]
  },
}
