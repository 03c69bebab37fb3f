// 64 connections in 8 producer processes, each enqueueing one message after the other, with a process that listens. What do
// notifications cost, whose commits PostgreSQL puts in a row?
//
// The same installation enqueues with notifications on, off, off and on, so that what drifts falls on both. Each connection
// has a client of its own, so nothing is gathered. Every variant is measured with a sleeper announced on the queue where the
// system knows such a thing, so that notifications are really sent, or with a process that drains the queue meanwhile.
import { costs } from '../harness/metrics.mjs'

/** @type {import('../harness/scenario.js').Scenario} */
export default {
  name: 'connections',
  title: '64 connections in 8 producer processes',
  floors: ['floor-notify', 'floor'],
  metrics: ['onRate', 'offRate', 'onOff', 'serverUs'],
  params: { processes: 8, connections: 8, seconds: 4, warmSeconds: 1, bytes: 100 },
  quick: { processes: 2, connections: 2, seconds: 0.5, warmSeconds: 0.2 },
  about:
    'Autocommit without coalescing, and inside transactions of the caller that write a row of their own. A process listens; in the last variant it drains the queue.',

  groups: (_, { canJoinTransactions, announce }) =>
    [false, true]
      .filter((isTransactional) => !isTransactional || canJoinTransactions)
      .flatMap((isTransactional) => {
        const how = isTransactional ? "in callers' transactions" : 'autocommit'
        return [
          { isTransactional, listener: 'idle', variant: `${how}, idle listener` },
          ...(announce ? [{ isTransactional, listener: 'announced', variant: `${how}, a sleeper announced` }] : []),
          { isTransactional, listener: 'draining', variant: `${how}, consumers that drain` },
        ]
      }),

  async run(stage, { processes, connections, seconds, warmSeconds, bytes }, { isTransactional, listener, variant }) {
    const { manage, system, context } = stage
    await stage.consumers(listener === 'draining' ? {} : { queue: context.otherQueue })
    if (listener === 'announced') await manage('announce')
    const producers = await Promise.all(
      Array.from({ length: processes }, () =>
        stage.producers({ callers: 1, count: connections, connections: 1, isTransactional, bytes }),
      ),
    )
    /** @param {number} duration */
    const enqueue = async (duration) => {
      const done = await Promise.all(
        producers.map((one) => one.call('enqueueSingly', { callers: connections, seconds: duration })),
      )
      return {
        count: done.reduce((sum, { count }) => sum + count, 0),
        rate: done.reduce((sum, { count, ms }) => sum + (count / ms) * 1000, 0),
      }
    }
    const order = system.silence ? [false, true, true, false] : [false]
    /** @type {Map<boolean, number[]>} */
    const rates = new Map([
      [false, []],
      [true, []],
    ])
    let cost = { serverUs: Number.NaN }
    for (const isSilent of order) {
      if (system.silence) await manage('silence', isSilent)
      await enqueue(warmSeconds)
      const measured = await stage.measured([], () => enqueue(seconds))
      rates.get(isSilent)?.push(measured.result.rate)
      if (!isSilent) cost = { serverUs: costs(measured, measured.result.count).serverUs }
    }
    const [onRate, offRate] = [false, true].map((isSilent) => mean(rates.get(isSilent) ?? []))
    return [
      {
        variant,
        metrics: { onRate: Number(onRate), offRate: Number(offRate), onOff: Number(onRate) / Number(offRate), ...cost },
      },
    ]
  },
}

// --- internal ---

/** @param {readonly number[]} values */
function mean(values) {
  return values.reduce((sum, value) => sum + value, 0) / values.length
}
