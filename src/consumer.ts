// A consumer: claims messages as its handlers can take them, until it is stopped.
//
//   running <-> paused
//      |-> draining (claims until nothing is ready) -> stopping
//      |-> stopping (claims no more, waits for its handlers) -> stopped
//      `-> failed (a permanent error: credentials, unknown queue, newer schema): `stopped` rejects
//
// How it claims is in claiming.ts, what becomes of the messages in handlers.ts.
import { createClaiming } from './claiming.js'
import { type Client, checkStop, type StopOptions, type StopReport } from './client.js'
import { type ConsumeOptions, checkConsume } from './consume-options.js'
import type { QueueDefinition } from './definition.js'
import type { DueqError } from './errors.js'
import { createHandlers, type Handler, type Handlers } from './handlers.js'
import { createLatch } from './latch.js'
import { wholeNumber } from './options.js'
import { createPrefetch } from './prefetch.js'

export type ConsumerStatus = {
  readonly state: 'running' | 'paused' | 'draining' | 'stopping' | 'stopped' | 'failed'
  readonly concurrency: number
  /** Handlers under way. */
  readonly running: number
  /** Messages claimed and not started. */
  readonly buffered: number
  /** Messages whose settle is on its way to the database. */
  readonly settling: number
  /** When the database last answered a claim of this client on the queue; null before the first. A health probe compares it with the poll interval. */
  readonly lastClaimAt: Date | null
}

/** A running consumer. Stopping it is up to whoever started it; `await using` does it too. */
export type Consumer = AsyncDisposable & {
  /** Claims no more, and gives back what is not started. Handlers under way go on. */
  pause(): void
  resume(): void
  setConcurrency(concurrency: number): void
  readonly status: ConsumerStatus
  /** Settles when the consumer has stopped; rejects with the permanent error that ended it. */
  readonly stopped: Promise<StopReport>
  stop(options?: StopOptions): Promise<StopReport>
}

/** At the deadline, handlers that obey their signals, and what is still on its way to the database, get a moment. */
const graceMs = 250

/** Starts a consumer on a queue. */
export function startConsumer<Payload>(
  client: Client,
  definition: QueueDefinition,
  handler: Handler<Payload>,
  options: ConsumeOptions,
): Consumer {
  const { concurrency, leaseMs, pollMs, prefetch: most } = checkConsume(handler, options)
  const prefetch = createPrefetch(most)
  const { emit } = client
  const queue = definition.name

  let state: ConsumerStatus['state'] = 'running'
  const latch = createLatch()
  const progress = createLatch()
  const seat = client.watches.join(queue, { pollMs, onTurn: latch.set })

  const isTaking = (): boolean => state === 'running' || state === 'draining'
  const handlers: Handlers<Payload> = createHandlers({
    client,
    queue,
    handler,
    concurrency,
    isTaking,
    onHandled: prefetch.handled,
    onChange() {
      claiming.onChange()
      progress.set()
    },
  })

  const claiming = createClaiming<Payload>({
    client,
    definition,
    leaseMs,
    prefetch,
    handlers,
    seat,
    latch,
    state: () => state,
    onDrained: () => (state = 'stopping'),
    onFailed(error) {
      failed = error
      state = 'failed'
      emit({ type: 'consumer.error', queue, error, retryMs: Number.POSITIVE_INFINITY })
      void stop()
    },
  })

  // --- stopping

  let stopping: Promise<StopReport> | undefined
  let deadline = Number.POSITIVE_INFINITY
  /** Begins to stop. A later call may only hurry: an earlier deadline, no drain, signals. */
  const stop = async (options: StopOptions = {}): Promise<StopReport> => {
    const { mode, deadlineMs } = checkStop('stop', options)
    deadline = Math.min(deadline, performance.now() + deadlineMs)
    if (mode === 'release') handlers.askBack()
    if (state === 'running' || state === 'paused') state = mode === 'drain' ? 'draining' : 'stopping'
    else if (state === 'draining' && mode !== 'drain') state = 'stopping'
    stopping ??= finish()
    if (!isTaking()) handlers.giveBackWaiting()
    progress.set()
    latch.set()
    return stopping
  }

  const finish = async (): Promise<StopReport> => {
    const before = { ...handlers.counts }
    claiming.lookNow()
    const isSettling = (): boolean => isLooping || handlers.settling > 0
    const isBusy = (): boolean => state === 'draining' || handlers.running > 0 || isSettling()
    await Promise.resolve() // a stop that changes its mind in the same turn counts as one
    while (isBusy() && performance.now() < deadline) await progress.wait(deadline)
    if (state === 'draining') state = 'stopping'
    handlers.askBack()
    handlers.giveBackWaiting()
    latch.set()
    const graceEnd = performance.now() + graceMs
    while ((handlers.running > 0 || isSettling()) && performance.now() < graceEnd) await progress.wait(graceEnd)
    const stillRunning = handlers.running
    handlers.abandon()
    seat.leave()
    options.signal?.removeEventListener('abort', onAbort)
    client.open.delete(consumer)
    if (state !== 'failed') state = 'stopped'
    emit({ type: 'consumer.stopped', queue, consumer: client.name, error: failed ?? null })
    const { finished, released } = handlers.counts
    const result = { finished: finished - before.finished, released: released - before.released, stillRunning }
    if (failed) rejectStopped(failed)
    else resolveStopped(result)
    return result
  }

  const onAbort = (): void => void stop()

  emit({ type: 'consumer.started', queue, consumer: client.name })
  let failed: DueqError | undefined
  let resolveStopped: (report: StopReport) => void
  let rejectStopped: (error: DueqError) => void
  const stopped = new Promise<StopReport>((resolve, reject) => {
    resolveStopped = resolve
    rejectStopped = reject
  })
  stopped.catch(() => {}) // told by the event; whoever awaits `stopped` is told as well

  let isLooping = true
  const onLoopEnd = (): void => {
    isLooping = false
    seat.leave()
    progress.set()
  }
  void claiming.run().then(onLoopEnd)

  const consumer: Consumer = {
    pause() {
      if (state !== 'running') return
      state = 'paused'
      seat.pass()
      handlers.giveBackWaiting()
    },
    resume() {
      if (state !== 'paused') return
      state = 'running'
      seat.wake()
      latch.set()
    },
    setConcurrency(value) {
      handlers.concurrency = wholeNumber('concurrency', value, 1, 10_000)
      latch.set()
    },
    get status() {
      const { concurrency, running, waiting, settling } = handlers
      return { state, concurrency, running, buffered: waiting, settling, lastClaimAt: seat.answeredAt }
    },
    stopped,
    stop,
    async [Symbol.asyncDispose]() {
      await stop()
    },
  }
  client.open.add(consumer)
  if (options.signal?.aborted) onAbort()
  else options.signal?.addEventListener('abort', onAbort, { once: true })
  return consumer
}
