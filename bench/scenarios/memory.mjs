// A million messages through one consumer process: does its memory stay where it is?

import { untilEmpty } from '../harness/draining.mjs'
import { median, percentile } from '../harness/figures.mjs'
import { costs } from '../harness/metrics.mjs'

/** @type {import('../harness/scenario.js').Scenario} */
export default {
  name: 'memory',
  title: 'Memory of a consumer over many messages',
  floors: ['floor'],
  metrics: ['growth', 'secondTenth', 'lastTenth', 'rate', 'serverUs', 'clientUs', 'handled'],
  params: { count: 1_000_000, samples: 1000, bytes: 100, limitSeconds: 120 },
  quick: { count: 20_000, samples: 100, limitSeconds: 20 },
  about: 'One process drains messages of 100 B with a no-op handler; resident memory by messages handled.',
  chart: { x: 'messages handled (thousands)', y: 'resident memory (MB)' },

  groups: () => [{ variant: 'one process' }],

  async run(stage, { count, samples, bytes, limitSeconds }, { variant }) {
    await stage.fill({ count, bytes })
    const every = Math.round(count / samples)
    const server = stage.serverCpuMs()
    const consumer = await stage.consumer({ sampleMemoryEvery: every })
    const handled = await stage.untilHandled([consumer], count, limitSeconds * 1000)
    if (handled >= count) await untilEmpty(stage)
    const serverCpuMs = stage.serverCpuMs() - server
    const { memory, firstAt, lastAt, cpuMs } = await consumer.call('takeNotes')
    const mb = Array.from(memory, (bytesUsed) => Number(bytesUsed) / 1e6)
    /** @param {number} tenth */
    const inTenth = (tenth) => median(mb.slice((mb.length * tenth) / 10, (mb.length * (tenth + 1)) / 10))
    const [secondTenth, lastTenth] = [inTenth(1), inTenth(9)]
    return [
      {
        variant,
        metrics: {
          growth: lastTenth / secondTenth,
          secondTenth,
          lastTenth,
          rate: (handled / (lastAt - firstAt)) * 1000,
          ...costs({ serverCpuMs, clientCpuMs: cpuMs }, handled),
          handled,
        },
        series: thinned(mb.map((value, i) => [((i + 1) * every) / 1000, value])),
        details: { peakMb: percentile(mb, 1) },
      },
    ]
  },
}

// --- internal ---

/** At most 100 points: a chart shows no more. @param {[number, number][]} points */
function thinned(points) {
  const step = Math.max(Math.floor(points.length / 100), 1)
  return points.filter((_, i) => i % step === 0)
}
