// Everything at once: 32 callers enqueue singly in one process while two processes consume. End to end is from the call of
// enqueue to the handler, by the clock of the machine.
import { joined, percentile, within } from '../harness/figures.mjs'
import { costs } from '../harness/metrics.mjs'
import { pause } from '../harness/time.mjs'

/** @type {import('../harness/scenario.js').Scenario} */
export default {
  name: 'mixed',
  title: 'Mixed load, end to end',
  floors: ['floor', 'floor-notify'],
  metrics: ['rate', 'p50', 'p99', 'serverUs', 'clientUs'],
  params: { callers: 32, processes: 2, seconds: 10, warmSeconds: 2, bytes: 100 },
  quick: { callers: 8, processes: 1, seconds: 1, warmSeconds: 0.3 },
  about: '32 callers enqueue one by one in one process, as fast as they can; two processes consume.',

  groups: ({ callers, processes }) => [{ variant: `${callers} callers, ${processes} consumer process(es)` }],

  async run(stage, { callers, processes, seconds, warmSeconds, bytes }, { variant }) {
    const consumers = await stage.consumers({ processes })
    const producer = await stage.producers({ callers, bytes })
    await producer.call('enqueueSingly', { callers, seconds: warmSeconds })
    const measured = await stage.measured([producer, ...consumers], () =>
      producer.call('enqueueSingly', { callers, seconds }),
    )
    await pause(1000) // what was enqueued last is on its way
    const notes = await Promise.all(consumers.map((one) => one.call('takeNotes')))
    const { start, ms, count } = measured.result
    const all = joined(notes.map((note) => note.latenesses))
    const instants = joined(notes.map((note) => note.instants))
    const inTime = within(all, instants, start, start + ms)
    return [
      {
        variant,
        metrics: {
          rate: (inTime.length / ms) * 1000,
          p50: percentile(inTime, 0.5),
          p99: percentile(inTime, 0.99),
          ...costs(measured, Math.max(inTime.length, 1)),
        },
        details: { enqueued: count, handled: inTime.length },
      },
    ]
  },
}
