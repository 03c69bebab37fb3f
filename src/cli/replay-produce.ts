/**
 * The producing side of a replay: everything ahead of time, or each arrival at its instant. Every enqueue that was
 * answered is in the journal.
 */
import { setTimeout as delay } from 'node:timers/promises'
import type { QueueHandle } from '../queue.js'
import type { Journal } from './journal.js'

/** An arrival with its place in the replay, from 0. */
export type Planned = { readonly offsetMs: number; readonly payload: unknown }

const chunkSize = 1000

/** Enqueues all with their instants, by the clock of the database. */
export async function enqueueAhead(
  queue: QueueHandle<unknown, unknown>,
  arrivals: readonly Planned[],
  journal: Journal,
  firstDueMs: number,
  onEnqueued: (count: number) => void,
): Promise<void> {
  for (let from = 0; from < arrivals.length; from += chunkSize) {
    // Whole milliseconds, so that the journals, which keep no more, are exact.
    const items = arrivals
      .slice(from, from + chunkSize)
      .map(({ offsetMs, payload }) => ({ payload, at: new Date(Math.round(firstDueMs + offsetMs)) }))
    const ids = await queue.enqueueMany(items)
    for (const [index, { id }] of ids.entries()) {
      const dueAt = items[index]!.at.toISOString()
      journal.write({ type: 'enqueued', id, ref: String(from + index), dueAt, outcome: 'committed' })
    }
    onEnqueued(ids.length)
  }
}

/** Enqueues each at its instant. What falls into one tick of the timer is enqueued in one statement, as a producer with a burst would do. */
export async function enqueueLive(
  queue: QueueHandle<unknown, unknown>,
  arrivals: readonly Planned[],
  run: { readonly journal: Journal; readonly nowMs: number; readonly startedAt: number; readonly signal: AbortSignal },
  onEnqueued: (count: number) => void,
): Promise<void> {
  const { journal, nowMs, startedAt, signal } = run
  // A lower bound: when exactly a message was due is known to the database only, and the claims say it.
  const dueAt = new Date(nowMs).toISOString()
  const underWay = new Set<Promise<void>>()
  const failure: { error?: unknown } = {}
  const enqueue = async (from: number, to: number): Promise<void> => {
    const payloads = arrivals.slice(from, to).map(({ payload }) => payload)
    const ids =
      payloads.length === 1
        ? [await queue.enqueue(payloads[0])]
        : await queue.enqueueMany(payloads.map((payload) => ({ payload })))
    for (const [index, { id }] of ids.entries()) {
      journal.write({ type: 'enqueued', id, ref: String(from + index), dueAt, outcome: 'committed' })
    }
    onEnqueued(ids.length)
  }
  for (let next = 0; next < arrivals.length && !('error' in failure); ) {
    const waitMs = startedAt + arrivals[next]!.offsetMs - performance.now()
    if (waitMs > 0) await delay(Math.ceil(waitMs), undefined, { signal })
    const from = next
    const elapsedMs = performance.now() - startedAt
    while (next < arrivals.length && next - from < chunkSize && arrivals[next]!.offsetMs <= elapsedMs) next++
    if (next === from) continue
    const sent: Promise<void> = enqueue(from, next)
      .catch((error: unknown) => {
        failure.error = error
      })
      .finally(() => underWay.delete(sent))
    underWay.add(sent)
  }
  await Promise.all(underWay)
  if ('error' in failure) throw failure.error
}
