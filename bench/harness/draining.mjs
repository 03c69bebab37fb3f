// Empties a queue and times it. The time runs from the first message handled to the last one in any process, so that
// starting processes and connecting is no part of it; then the queue must really be empty, settles included.
import { joined, percentile } from './figures.mjs'
import { costs } from './metrics.mjs'
import { pause } from './time.mjs'

const emptyWithinMs = 10_000

/**
 * @param {import('./stage.mjs').Stage} stage
 * @param {{ processes?: number, count: number, limitMs: number, isTimingClaims?: boolean, warm?: readonly import('./stage.mjs').Role[] }} options
 * `warm`: processes from `warmUp`, used instead of new ones.
 */
export async function drain(stage, { processes = 1, count, limitMs, isTimingClaims = false, warm }) {
  const server = stage.serverCpuMs()
  if (warm) await stage.openAgain(warm, { isTimingClaims })
  const consumers = warm ?? (await stage.consumers({ processes, isTimingClaims }))
  const handled = await stage.untilHandled(consumers, count, limitMs)
  const isWhole = handled >= count
  if (isWhole) await untilEmpty(stage)
  const serverCpuMs = stage.serverCpuMs() - server
  const notes = await Promise.all(consumers.map((one) => one.call('takeNotes')))
  await stage.close(consumers)
  const first = Math.min(...notes.filter((note) => note.handled > 0).map((note) => note.firstAt))
  const last = Math.max(...notes.map((note) => note.lastAt))
  const total = notes.reduce((sum, note) => sum + note.handled, 0)
  if (total > count && isWhole) throw new Error(`${total} messages were handled, and there were only ${count}.`)
  return {
    rate: (total / (last - first)) * 1000,
    ...costs({ serverCpuMs, clientCpuMs: notes.reduce((sum, note) => sum + note.cpuMs, 0) }, total),
    handled: total,
    ...(isTimingClaims ? { claimP50: percentile(joined(notes.map((note) => note.claims)), 0.5) } : {}),
  }
}

/**
 * Processes of consumers that have twice handled so many messages each, and were closed again: a process that has just begun
 * spends more on compiling itself than on a few thousand messages, and V8 throws a part of that away when its consumers are
 * opened a second time, as they then are for what is measured.
 * @param {import('./stage.mjs').Stage} stage
 * @param {{ processes: number, messages: number, bytes: number, limitMs: number }} options
 */
export async function warmUp(stage, { processes, messages, bytes, limitMs }) {
  /** @type {Awaited<ReturnType<typeof stage.consumers>> | undefined} */
  let consumers
  for (let pass = 0; pass < 2; pass++) {
    await stage.fill({ count: processes * messages, bytes })
    if (consumers) await stage.openAgain(consumers, { isTimingClaims: false })
    else consumers = await stage.consumers({ processes })
    await stage.untilHandled(consumers, processes * messages, limitMs)
    await untilEmpty(stage)
    await Promise.all(consumers.map((one) => one.call('closeConsumers')))
    await Promise.all(consumers.map((one) => one.call('takeNotes')))
  }
  return /** @type {NonNullable<typeof consumers>} */ (consumers)
}

/** @param {import('./stage.mjs').Stage} stage */
export async function untilEmpty(stage) {
  const end = performance.now() + emptyWithinMs
  while (!(await stage.manage('isEmpty'))) {
    if (performance.now() > end) throw new Error('Every message was handled, but the queue is not empty.')
    await pause(20)
  }
}
