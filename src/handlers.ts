// The handlers of a consumer: messages come in claimed, wait for a free handler, run, and are settled.
//
//   waiting -- a handler is free --> running -- returned or thrown --> settling --> gone
//      `-- given back --> settling --> gone
//
// Invariants: a message is in exactly one of these places; never more than `concurrency` handlers run; a message whose
// handler still runs is never given back, because then two would work on it; a lease is kept no longer than somebody here
// works on its message, or the message would never come again.
import type { Answer } from './acks.js'
import { createBag } from './bag.js'
import type { Client } from './client.js'
import { fromDatabase } from './database-errors.js'
import { DueqError } from './errors.js'
import type { Message } from './message.js'
import type { MessageControl } from './message-control.js'
import { giveBack, settleReturned, settleThrown, tellAcked } from './settle.js'

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

/**
 * So long handlers that return at once run one after the other, in ms; then timers, answers and the extension of leases have their
 * turn. Those that do next to nothing are through with a claim by then.
 */
const mostAtOnceMs = 10

/** What a handler threw. */
type Failure = { readonly error: unknown }

/** Makes the handlers of a consumer. */
export function createHandlers<Payload>(options: Options<Payload>): Handlers<Payload> {
  const { client, queue, handler, isTaking, onHandled, onChange } = options
  const { emit, isHeard, leases } = client
  const waiting: MessageControl<Payload>[] = []
  const running = createBag<'runningPlace', MessageControl<Payload>>('runningPlace')
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

  let isStarting = false
  const start = (): void => {
    if (isStarting) return // a handler that returned at once is followed by the loop below, however many there are
    isStarting = true
    const startedAt = performance.now()
    let now = startedAt
    while (running.size < concurrency && waiting.length > 0 && isTaking()) {
      if (now - startedAt >= mostAtOnceMs) return void setImmediate(goOn)
      const control = waiting.shift()!
      if (leases.isTrusted(control, now)) handle(control, now)
      else count(control, -1)
      now = performance.now()
    }
    isStarting = false
  }
  const goOn = (): void => {
    isStarting = false
    start()
  }

  const handle = (control: MessageControl<Payload>, now: number): void => {
    const message = control.takeMessage()
    running.add(control)
    lastStartAt = now
    if (isHeard) {
      const { id, attempt, latenessMs } = message
      emit({ type: 'message.started', queue, id, attempt, latenessMs })
    }
    let result: unknown
    try {
      result = handler(message)
    } catch (error) {
      ended(control, now, { error })
      return
    }
    const isPlain = result === null || (typeof result !== 'object' && typeof result !== 'function')
    if (isPlain) ended(control, now, undefined)
    else void follow(control, now, result)
  }
  const follow = async (control: MessageControl<Payload>, startedAt: number, result: unknown): Promise<void> => {
    let failure: Failure | undefined
    try {
      await result
    } catch (error) {
      failure = { error }
    }
    ended(control, startedAt, failure)
  }

  const ended = (control: MessageControl<Payload>, startedAt: number, failure: Failure | undefined): void => {
    control.runMs = performance.now() - startedAt
    onHandled(control.runMs)
    running.delete(control)
    settlingCount++
    // The short way of almost every message; whatever is unusual goes the long one.
    if (failure || control.settlement) void settle(control, () => settleEnded(control, failure))
    else if (!control.beginAck(answered)) gone(control)
    start()
    onChange()
  }
  const settleEnded = async (control: MessageControl<Payload>, failure: Failure | undefined): Promise<void> => {
    // What a handler throws because its message is asked back is no failure of the message.
    if (failure && askedBack.has(control) && !control.settlement && !control.lost) {
      await giveBack(client, control)
      counts.released++
    } else {
      await (failure ? settleThrown(client, control, failure.error) : settleReturned(client, control))
      counts.finished++
    }
  }

  const answered = (control: MessageControl<Payload>, answer: Answer): void => {
    control.endAck(answer)
    if (typeof answer === 'boolean') {
      if (answer) counts.finished++
      tellAcked(client, control)
      gone(control)
    } else
      void settle(control, async () => {
        await settleReturned(client, control, answer)
        counts.finished++
      })
  }

  /** Runs a settle to its end. What fails here ends with the lease, and the message comes again. */
  const settle = async (control: MessageControl<Payload>, run: () => Promise<void>): Promise<void> => {
    try {
      await run()
    } catch (cause) {
      const error = fromDatabase(cause) // a lost lease has told of itself already
      const retryMs = Math.max(0, control.trustedUntil - performance.now())
      if (error.code !== 'lease.lost') emit({ type: 'consumer.error', queue, error, retryMs })
    } finally {
      gone(control)
    }
  }
  const gone = (control: MessageControl<Payload>): void => {
    leases.drop(control)
    count(control, -1)
    settlingCount--
    onChange()
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
      const isAlone = inHand.suspect > 0 // what comes beside a message that is handled alone is given back
      for (const control of controls) count(control, 1)
      if (!isAlone) start()
    },
    giveBackWaiting() {
      for (const control of waiting.splice(0)) {
        if (control.lost) {
          count(control, -1)
          continue
        }
        settlingCount++
        void settle(control, async () => {
          await giveBack(client, control)
          counts.released++
        })
      }
      onChange()
    },
    askBack() {
      for (const control of running.all()) {
        askedBack.add(control)
        control.abort(new DueqError('consumer.stopped', `The consumer of queue "${queue}" stops.`))
      }
    },
    abandon() {
      for (const control of running.all()) leases.drop(control)
    },
  }
}
