// What dueq tells about itself: one listener, one union. A listener that throws never touches delivery. A warning that
// nobody listens for goes to process.emitWarning, once an hour for each type, queue and code of its error, so that nothing goes
// wrong in silence: neither the second outage of a long life, nor the changed password that keeps a connection from coming back.
import { DueqError, thrownText } from './errors.js'

/** An event of dueq; `docs/events.md` is the table of all. Times are in ms. */
export type DueqEvent =
  | {
      readonly type: 'message.started'
      readonly queue: string
      readonly id: string
      readonly attempt: number
      readonly latenessMs: number
    }
  | {
      readonly type: 'message.acked'
      readonly queue: string
      readonly id: string
      readonly attempt: number
      readonly runMs: number
    }
  | {
      readonly type: 'message.failed'
      readonly queue: string
      readonly id: string
      readonly attempt: number
      readonly error: unknown
      /** What became of it: ready again after the back-off, a dead letter, in other hands already, or settled by the handler before it threw. */
      readonly outcome: 'retry' | 'dead' | 'lost' | 'settled'
    }
  | { readonly type: 'message.released'; readonly queue: string; readonly id: string; readonly attempt: number }
  | {
      readonly type: 'message.dead'
      readonly queue: string
      readonly id: string
      readonly attempt: number
      readonly reason: string
      /** What the handler threw last, or the issues of the schema as text. */
      readonly error: unknown
    }
  | {
      readonly type: 'lease.lost'
      readonly queue: string
      readonly id: string
      readonly attempt: number
      readonly error: DueqError
    }
  | { readonly type: 'consumer.started'; readonly queue: string; readonly consumer: string }
  /** `error`: the permanent error that ended it; null where it was asked to stop. */
  | {
      readonly type: 'consumer.stopped'
      readonly queue: string
      readonly consumer: string
      readonly error: DueqError | null
    }
  | { readonly type: 'consumer.error'; readonly queue: string; readonly error: DueqError; readonly retryMs: number }
  | { readonly type: 'listen.up' }
  | { readonly type: 'listen.lost'; readonly error: DueqError }
  | { readonly type: 'listen.silent'; readonly error: DueqError }
  | { readonly type: 'queue.differs'; readonly queue: string; readonly differences: readonly SettingDifference[] }

/** A setting whose value in code is not the stored one; durations in ms. */
export type SettingDifference = {
  readonly setting: string
  readonly declared: number | null
  readonly stored: number | null
}

/** Hands an event to the listener of the client. */
export type Emit = (event: DueqEvent) => void

/** For how long a warning stands for those like it, in ms. */
const quietMs = 3_600_000

/** Makes the emitter of a client. */
export function createEmitter(listener: ((event: DueqEvent) => void) | undefined): Emit {
  const warnedAt = new Map<string, number>()
  return (event) => {
    if (listener) {
      const warn = (error: unknown): void =>
        process.emitWarning(`A dueq event listener threw: ${thrownText(error)}`, { code: 'DUEQ_LISTENER' })
      try {
        const result: unknown = listener(event)
        if (result instanceof Promise) result.catch(warn)
      } catch (error) {
        warn(error)
      }
      return
    }
    const text = warningOf(event)
    const error: unknown = 'error' in event ? event.error : undefined
    const code = error instanceof DueqError ? error.code : ''
    const key = `${event.type} ${'queue' in event ? event.queue : ''} ${code}`
    const now = performance.now()
    if (text === undefined || now < (warnedAt.get(key) ?? -quietMs) + quietMs) return
    warnedAt.set(key, now)
    process.emitWarning(`${text} (further ones of this kind are not shown for an hour; pass \`onEvent\` to see all)`, {
      code: `DUEQ_${event.type.toUpperCase().replace('.', '_')}`,
    })
  }
}

// --- internal ---

function warningOf(event: DueqEvent): string | undefined {
  switch (event.type) {
    case 'consumer.error':
      return event.retryMs === Number.POSITIVE_INFINITY
        ? undefined // its end is told by consumer.stopped
        : `The consumer of queue "${event.queue}" could not reach its queue and tries again: ${event.error.message}`
    case 'consumer.stopped':
      return event.error
        ? `The consumer of queue "${event.queue}" has stopped for good, nothing is consumed any more: ${event.error.message}`
        : undefined
    case 'message.dead':
      return `Message ${event.id} of queue "${event.queue}" went to the dead letters (${event.reason})${event.error ? `: ${thrownText(event.error)}` : ''}`
    case 'lease.lost':
      return `Queue "${event.queue}": ${event.error.message}`
    case 'message.failed':
      return `A handler of queue "${event.queue}" failed on message ${event.id}: ${thrownText(event.error)}`
    case 'listen.lost':
    case 'listen.silent':
      return event.error.message
    case 'queue.differs':
      return `Queue "${event.queue}" is stored with other settings than declared: ${event.differences
        .map((d) => `${d.setting} ${d.stored} instead of ${d.declared}`)
        .join(', ')}. ensure() stores the declared ones`
    default:
      return undefined
  }
}
