// A queue full of due messages is emptied by consumers whose handlers do nothing, in 1 and in 4 processes.
import { drain } from '../harness/draining.mjs'

/** @type {import('../harness/scenario.js').Scenario} */
export default {
  name: 'drain',
  title: 'Drain of a full queue',
  floors: ['floor'],
  metrics: ['rate', 'serverUs', 'clientUs', 'handled'],
  params: { processes: [1, 4], count: 100_000, bytes: 100, limitSeconds: 60 },
  quick: { processes: [1], count: 5_000, limitSeconds: 15 },
  about: 'No-op handlers. From the first message handled to the last; at the end the queue must be empty.',

  groups: ({ processes }) =>
    processes.map((/** @type {number} */ count) => ({
      processes: count,
      variant: count === 1 ? '1 process' : `${count} processes`,
    })),

  async run(stage, { count, bytes, limitSeconds }, { processes, variant }) {
    await stage.fill({ count, bytes })
    return [{ variant, metrics: await drain(stage, { processes, count, limitMs: limitSeconds * 1000 }) }]
  },
}
