// A queue full of due messages is emptied by consumers whose handlers do nothing, in 1 and in 4 processes.
import { drain, warmUp } from '../harness/draining.mjs'

/** @type {import('../harness/scenario.js').Scenario} */
export default {
  name: 'drain',
  title: 'Drain of a full queue',
  floors: ['floor'],
  metrics: ['rate', 'serverUs', 'clientUs', 'handled'],
  params: { processes: [1, 4], count: 100_000, warm: 20_000, bytes: 100, limitSeconds: 60 },
  quick: { processes: [1], count: 5_000, warm: 1_000, limitSeconds: 15 },
  about:
    'No-op handlers, in processes that have handled some 40,000 messages each before. From the first message handled to the last; at the end the queue must be empty.',

  groups: ({ processes }) =>
    processes.map((/** @type {number} */ count) => ({
      processes: count,
      variant: count === 1 ? '1 process' : `${count} processes`,
    })),

  async run(stage, { count, warm, bytes, limitSeconds }, { processes, variant }) {
    const limitMs = limitSeconds * 1000
    const consumers = await warmUp(stage, { processes, messages: warm, bytes, limitMs })
    await stage.fill({ count, bytes })
    return [{ variant, metrics: await drain(stage, { count, limitMs, warm: consumers }) }]
  },
}
