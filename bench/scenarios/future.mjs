// A drain beside many messages that are due far in the future: what waits should cost what is due nothing.
import { drain } from '../harness/draining.mjs'

/** @type {import('../harness/scenario.js').Scenario} */
export default {
  name: 'future',
  title: 'Drain beside future messages',
  floors: ['floor'],
  metrics: ['rate', 'claimP50', 'serverUs', 'clientUs', 'handled'],
  params: { future: [0, 1_000_000, 10_000_000], count: 50_000, bytes: 100, limitSeconds: 30 },
  quick: { future: [0, 20_000], count: 5000 },
  about: 'One process drains due messages, beside ones that are due in a day and later.',
  baseline: 'no future messages',

  groups: () => [{ variant: 'all' }],

  async run(stage, { future, count, bytes, limitSeconds }) {
    const results = []
    let present = 0
    for (const wanted of future) {
      if (wanted > present)
        await stage.manage('backlog', {
          count: wanted - present,
          delayMs: 86_400_000,
          payload: { t: 0, p: 'x'.repeat(bytes) },
        })
      present = wanted
      await stage.fill({ count, bytes })
      const metrics = await drain(stage, { count, limitMs: limitSeconds * 1000, isTimingClaims: true })
      const variant = wanted === 0 ? 'no future messages' : `${wanted.toLocaleString('en')} future messages`
      results.push({ variant, metrics })
      // What a slow system left due would be in the way of its next drain, and nothing to compare.
      if (metrics.handled < count) break
    }
    return results
  },
}
