// The handlers of a consumer: messages come in claimed, wait for a free handler, run, and are settled.
//
//   waiting -- a handler is free --> running -- returned or thrown --> settling --> gone
//      `-- given back --> settling --> gone
//
// Invariants: a message is in exactly one of these places; never more than `concurrency` handlers run; a message whose
// handler still runs is never given back, because then two would work on it; a lease is kept no longer than somebody here
// works on its message, or the message would never come again.
import type { Client } from './client.js'
import { fromDatabase } from './database-errors.js'
import { DueqError } from './errors.js'
import type { Message, MessageControl } from './message.js'
import { giveBack, settleReturned, settleThrown } from './settle.js'

/** Works on one message. Returning acks it, throwing nacks it, unless the handler has settled it itself. */
export type Handler<Payload> = (message: Message<Payload>) => unknown

/** What the handlers of a consumer have in hand. */
export type Handlers<Payload> = {
  concurrency: number
  /** Claimed and not started. */
  readonly waiting: number
  readonly running: number
  /** On the way to the database with the result. */
  readonly settling: number
  /** Whether a message that has lapsed before is in hand, and one that is to be handled alone. */
  readonly hasLapsed: boolean
  readonly hasSuspect: boolean
  /** When a handler was last started, by `performance.now()`. */
  readonly lastStartAt: number
  /** Takes claimed messages. */
  take(controls: readonly MessageControl<Payload>[]): void
  /** Gives back what waits. */
  giveBackWaiting(): void
  /** Asks for the messages of running handlers: aborts their signals; what they then throw gives the message back. */
  askBack(): void
  /** Leaves running handlers to themselves: their leases are no longer kept. */
  abandon(): void
  /** How many messages were settled and given back so far. */
  readonly counts: { readonly finished: number; readonly released: number }
}

type Options<Payload> = {
  readonly client: Client
  readonly queue: string
  readonly handler: Handler<Payload>
  readonly concurrency: number
  /** Whether waiting messages are started. */
  readonly isTaking: () => boolean
  /** Called with the run time of each handler, in ms. */
  readonly onHandled: (runMs: number) => void
  /** Called after each change. */
  readonly onChange: () => void
}

/** Makes the handlers of a consumer. */
export function createHandlers<Payload>(options: Options<Payload>): Handlers<Payload> {
  const { client, queue, handler, isTaking, onHandled, onChange } = options
  const { emit } = client
  const waiting: MessageControl<Payload>[] = []
  const running = new Set<MessageControl<Payload>>()
  const askedBack = new WeakSet<MessageControl<Payload>>()
  const counts = { finished: 0, released: 0 }
  let concurrency = options.concurrency
  let settlingCount = 0
  let lastStartAt = 0
  const inHand = { lapsed: 0, suspect: 0 }
  const count = (control: MessageControl<Payload>, change: 1 | -1): void => {
    if (control.hasLapsed) inHand.lapsed += change
    if (control.isSuspect) inHand.suspect += change
  }

  const start = (): void => {
    while (running.size < concurrency && waiting.length > 0 && isTaking()) {
      const control = waiting.shift()!
      if (client.leases.isTrusted(control.held)) void handle(control)
      else count(control, -1)
    }
  }

  const handle = async (control: MessageControl<Payload>): Promise<void> => {
    const { message } = control
    running.add(control)
    lastStartAt = performance.now()
    const startedAt = lastStartAt
    emit({ type: 'message.started', queue, id: message.id, attempt: message.attempt, latenessMs: message.latenessMs })
    let failure: { readonly error: unknown } | undefined
    try {
      await handler(message)
    } catch (error) {
      failure = { error }
    }
    const runMs = performance.now() - startedAt
    onHandled(runMs)
    running.delete(control)
    start()
    await settle(control, async () => {
      // What a handler throws because its message is asked back is no failure of the message.
      if (failure && askedBack.has(control) && !control.settlement() && !control.held.lost) {
        await giveBack(client, control)
        counts.released++
      } else {
        await (failure ? settleThrown(client, control, failure.error) : settleReturned(client, control, runMs))
        counts.finished++
      }
    })
  }

  /** Runs a settle to its end. What fails here ends with the lease, and the message comes again. */
  const settle = async (control: MessageControl<Payload>, run: () => Promise<void>): Promise<void> => {
    settlingCount++
    onChange()
    try {
      await run()
    } catch (cause) {
      const error = fromDatabase(cause) // a lost lease has told of itself already
      const retryMs = Math.max(0, control.held.trustedUntil - performance.now())
      if (error.code !== 'lease.lost') emit({ type: 'consumer.error', queue, error, retryMs })
    } finally {
      client.leases.drop(control.held)
      count(control, -1)
      settlingCount--
      onChange()
    }
  }

  return {
    get concurrency() {
      return concurrency
    },
    set concurrency(value) {
      concurrency = value
      start()
    },
    get waiting() {
      return waiting.length
    },
    get running() {
      return running.size
    },
    get settling() {
      return settlingCount
    },
    get hasLapsed() {
      return inHand.lapsed > 0
    },
    get hasSuspect() {
      return inHand.suspect > 0
    },
    get lastStartAt() {
      return lastStartAt
    },
    counts,
    take(controls) {
      if (waiting.length === 0) lastStartAt = performance.now()
      waiting.push(...controls)
      for (const control of controls) count(control, 1)
      start()
    },
    giveBackWaiting() {
      for (const control of waiting.splice(0)) {
        if (control.held.lost) {
          count(control, -1)
          continue
        }
        void settle(control, async () => {
          await giveBack(client, control)
          counts.released++
        })
      }
    },
    askBack() {
      for (const control of running) {
        askedBack.add(control)
        control.abort(new DueqError('consumer.stopped', `The consumer of queue "${queue}" stops.`))
      }
    },
    abandon() {
      for (const { held } of running) client.leases.drop(held)
    },
  }
}
