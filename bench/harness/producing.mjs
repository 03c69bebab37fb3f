// What a process of producers does. Verbs of role.mjs; each gives plain data.
import { lateMark, paddingFor } from './payload.mjs'
import { loadSystem } from './systems.mjs'
import { monotonicMs, pause } from './time.mjs'

/** @typedef {import('../contract.js').Producer} Producer */

/** @type {Producer[]} */
let producers = []
let padding = ''

/**
 * Opens `count` producers; callers are spread over them.
 * @param {{ system: string, context: import('../contract.js').Context, options: import('../contract.js').ProducerOptions, count?: number, bytes: number }} args
 */
export async function openProducers({ system, context, options, count = 1, bytes }) {
  const { producer } = await loadSystem(system)
  producers = await Promise.all(Array.from({ length: count }, () => producer(context, options)))
  padding = paddingFor(bytes)
}

/**
 * Closed loop: each caller enqueues one message after the other, for a time or until `count` are sent.
 * @param {{ callers: number, seconds: number, count?: number }} args
 */
export async function enqueueSingly({ callers, seconds, count = Number.POSITIVE_INFINITY }) {
  const start = monotonicMs()
  const end = start + seconds * 1000
  let sent = 0
  await Promise.all(
    Array.from({ length: callers }, async (_, i) => {
      const producer = /** @type {Producer} */ (producers[i % producers.length])
      while (sent < count) {
        if (monotonicMs() >= end) break
        sent++
        await producer.enqueue({ t: monotonicMs(), p: padding })
      }
    }),
  )
  return { count: sent, start, ms: monotonicMs() - start }
}

/**
 * Closed loop of bulk enqueues.
 * @param {{ batch: number, parallel: number, seconds: number }} args
 */
export async function enqueueInBulk({ batch, parallel, seconds }) {
  let sent = 0
  const end = performance.now() + seconds * 1000
  const start = performance.now()
  await Promise.all(
    Array.from({ length: parallel }, async (_, i) => {
      while (performance.now() < end) {
        await /** @type {Producer} */ (producers[i % producers.length]).enqueueMany(many(batch))
        sent += batch
      }
    }),
  )
  return { count: sent, ms: performance.now() - start }
}

/**
 * Open loop: so many messages a second, in bulk every 10 ms. What cannot be sent because 8 calls are under way is left
 * out, and missing in `count`.
 * @param {{ perSecond: number, seconds: number }} args
 */
export async function enqueueAtRate({ perSecond, seconds }) {
  const start = monotonicMs()
  /** @type {Set<Promise<unknown>>} */
  const calls = new Set()
  let planned = 0
  let sent = 0
  for (;;) {
    const now = monotonicMs() - start
    const batch = Math.floor((Math.min(now, seconds * 1000) * perSecond) / 1000) - planned
    planned += batch
    if (batch > 0 && calls.size < 8) {
      sent += batch
      const call = /** @type {Producer} */ (producers[0]).enqueueMany(many(batch)).finally(() => calls.delete(call))
      calls.add(call)
    }
    if (now >= seconds * 1000) break
    await pause(10)
  }
  await Promise.all(calls)
  return { count: sent, start, ms: monotonicMs() - start }
}

/**
 * Single enqueues, one after the other, with a random pause between.
 * @param {{ count: number, minPauseMs: number, maxPauseMs: number }} args
 */
export async function enqueueSpaced({ count, minPauseMs, maxPauseMs }) {
  for (let i = 0; i < count; i++) {
    await pause(minPauseMs + Math.random() * (maxPauseMs - minPauseMs))
    await /** @type {Producer} */ (producers[0]).enqueue({ t: monotonicMs(), p: padding })
  }
}

/**
 * Messages that become due one after the other over `spreadMs`, the first in `leadMs`; enqueued one by one, at once.
 * @param {{ count: number, leadMs: number, spreadMs: number }} args
 */
export async function enqueueDelayed({ count, leadMs, spreadMs }) {
  const start = monotonicMs()
  for (let i = 0; i < count; i++) {
    const t = monotonicMs()
    const delayMs = Math.max(0, Math.round(start + leadMs + (spreadMs * i) / count - t))
    await /** @type {Producer} */ (producers[0]).enqueue({ t, d: delayMs, p: padding }, { delayMs })
  }
  return { ms: monotonicMs() - start }
}

/** @param {{ waitMs: number }} args */
export async function commitLater({ waitMs }) {
  const payload = { t: monotonicMs(), d: lateMark, p: padding }
  return /** @type {Producer} */ (producers[0]).enqueueAndCommitLater?.(payload, waitMs)
}

export async function closeProducers() {
  await Promise.all(producers.map((producer) => producer.close()))
  producers = []
}

// --- internal ---

/** @param {number} count */
function many(count) {
  const t = monotonicMs()
  return Array.from({ length: count }, () => ({ t, p: padding }))
}
