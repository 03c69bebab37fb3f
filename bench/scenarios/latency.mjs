// From the call of enqueue in one process to the handler in another, while both are idle: one message at a time, with
// random pauses so that nothing falls into step.
import { percentile } from '../harness/figures.mjs'
import { pause } from '../harness/time.mjs'

/** @type {import('../harness/scenario.js').Scenario} */
export default {
  name: 'latency',
  title: 'Idle latency, enqueue to handler',
  floors: ['floor-signal', 'floor-notify'],
  metrics: ['p50', 'p99'],
  params: { count: 300, minPauseMs: 20, maxPauseMs: 60, bytes: 100, limitSeconds: 10 },
  quick: { count: 30, minPauseMs: 5, maxPauseMs: 15 },
  about:
    'One message at a time between two processes. The floor-signal is a NOTIFY alone, that stores nothing; floor-notify an INSERT with NOTIFY, a lease and a DELETE.',

  groups: () => [{ variant: 'idle' }],

  async run(stage, { count, minPauseMs, maxPauseMs, bytes, limitSeconds }, { variant }) {
    const consumer = await stage.consumer()
    const producer = await stage.producers({ bytes })
    await producer.call('enqueueSpaced', { count: 10, minPauseMs, maxPauseMs })
    await stage.untilHandled([consumer], 10, 10_000)
    await pause(1000)
    await consumer.call('takeNotes')
    await producer.call('enqueueSpaced', { count, minPauseMs, maxPauseMs })
    const handled = await stage.untilHandled([consumer], count, limitSeconds * 1000)
    if (handled !== count) throw new Error(`${handled} of ${count} messages were handled.`)
    const { latenesses } = await consumer.call('takeNotes')
    return [{ variant, metrics: { p50: percentile(latenesses, 0.5), p99: percentile(latenesses, 0.99) } }]
  },
}
