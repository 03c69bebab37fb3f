// Single enqueues due now, 1, 32 and 256 calls at a time in one process.
//
// A consumer process of the same system is connected and listens on another queue of the same installation: what notifying
// costs is paid, and nobody takes the processor from the producer. A system whose notifications depend on a sleeper of that
// very queue is measured a second time with one announced, so that the notifications are really sent.
import { costs } from '../harness/metrics.mjs'

/** @type {import('../harness/scenario.js').Scenario} */
export default {
  name: 'single',
  title: 'Single enqueue, due now',
  floors: ['floor', 'floor-notify'],
  metrics: ['rate', 'serverUs', 'clientUs'],
  params: { callers: [1, 32, 256], seconds: 5, warmSeconds: 1, bytes: 100 },
  quick: { callers: [1, 32], seconds: 0.5, warmSeconds: 0.2 },
  about:
    'Messages of 100 B, due now, enqueued one by one; a consumer process of the same system listens on another queue.',

  groups: ({ callers }, system) =>
    callers.flatMap((/** @type {number} */ count) => [
      { callers: count, variant: `${count} ${count === 1 ? 'caller' : 'callers'}` },
      ...(system.announce
        ? [{ callers: count, variant: `${count} ${count === 1 ? 'caller' : 'callers'}, a sleeper announced` }]
        : []),
    ]),

  async run(stage, { seconds, warmSeconds, bytes }, { callers, variant }) {
    await stage.consumers({ queue: stage.context.otherQueue })
    if (variant.includes('announced')) await stage.manage('announce')
    const producer = await stage.producers({ callers, bytes })
    await producer.call('enqueueSingly', { callers, seconds: warmSeconds })
    const measured = await stage.measured([producer], () => producer.call('enqueueSingly', { callers, seconds }))
    const { count, ms } = measured.result
    return [{ variant, metrics: { rate: (count / ms) * 1000, ...costs(measured, count) } }]
  },
}
