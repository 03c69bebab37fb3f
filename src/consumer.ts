// A consumer: claims messages as its handlers can take them, runs the handlers, settles what they return.
//
//   running <-> paused
//      |-> draining (claims until nothing is ready) -> stopping
//      |-> stopping (claims no more, waits for its handlers) -> stopped
//      `-> failed (a permanent error: credentials, unknown queue, newer schema): `stopped` rejects
//
// One loop claims. It sleeps until the earliest of: a notification, the next ready_at known, the poll interval, a free slot
// while more is known to be ready. Handlers run beside it.
//
// Invariants: a claimed message is in exactly one of `buffer` (not started), `running` and being settled; never more than
// `concurrency` handlers run; a message whose handler still runs is never given back, because then two would work on it.
import { type Claimed, claim } from './claim.js'
import type { Client, StopOptions, StopReport } from './client.js'
import type { QueueDefinition } from './definition.js'
import { DueqError, fromDatabase, isTransient } from './errors.js'
import { createLatch } from './latch.js'
import { epochMs, type Message, type MessageControl } from './message.js'
import { durationMs, knownOptions, oneOf, wholeNumber } from './options.js'
import { createPrefetch } from './prefetch.js'
import { giveBack, settleReturned, settleThrown } from './settle.js'

/** Works on one message. Returning acks it, throwing nacks it, unless the handler has settled it itself. */
export type Handler<Payload> = (message: Message<Payload>) => unknown

export type ConsumeOptions = {
  /** How many handlers run at once, 1 to 10000. @default 10 */
  readonly concurrency?: number
  /** How long a message is held between extensions, 1s to 12h. @default the lease of the queue */
  readonly lease?: number | string
  /** The longest sleep between looks, 100ms to 1h; the stored poll interval of the queue is an upper bound. @default the stored one */
  readonly pollInterval?: number | string
  /** At most this many messages are claimed ahead of free handlers, 0 to 1000; slow handlers get fewer. @default 500 */
  readonly prefetch?: number
  /** Stops the consumer (mode finish) when it aborts. */
  readonly signal?: AbortSignal
}

export type ConsumerStatus = {
  readonly state: 'running' | 'paused' | 'draining' | 'stopping' | 'stopped' | 'failed'
  readonly concurrency: number
  /** Handlers under way. */
  readonly running: number
  /** Messages claimed and not started. */
  readonly buffered: number
  /** Messages whose settle is on its way to the database. */
  readonly settling: number
  /** When the database last answered a claim; null before the first. A health probe compares it with the poll interval. */
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

/** Starts a consumer on a queue. */
export function startConsumer<Payload>(
  client: Client,
  definition: QueueDefinition,
  handler: Handler<Payload>,
  options: ConsumeOptions,
): Consumer {
  knownOptions('consume', options, ['concurrency', 'lease', 'pollInterval', 'prefetch', 'signal'])
  if (typeof handler !== 'function')
    throw new DueqError('option.invalid', 'Expected the handler of `consume` to be a function.')
  let concurrency = wholeNumber('concurrency', options.concurrency ?? 10, 1, 10_000)
  const leaseMs =
    options.lease === undefined ? undefined : durationMs('lease', options.lease, { min: '1s', max: '12h' })
  const pollMs = durationMs('pollInterval', options.pollInterval ?? '1h', { min: '100ms', max: '1h' })
  const prefetch = createPrefetch(wholeNumber('prefetch', options.prefetch ?? 500, 0, 1000))
  const { emit } = client
  const queue = definition.name

  let state: ConsumerStatus['state'] = 'running'
  const buffer: MessageControl<Payload>[] = []
  const running = new Set<MessageControl<Payload>>()
  let settlingCount = 0
  const report = { finished: 0, released: 0, stillRunning: 0 }
  const latch = createLatch()
  let lookAt = 0
  let lastClaim: { readonly receivedAt: number; readonly polledAtMs: number; readonly at: Date } | undefined
  let isDrained = false

  // --- claiming

  /** How many messages to claim now: 0 where all hands are full, or where so few are free that waiting makes a better batch. */
  const room = (): number => {
    if (state !== 'running' && state !== 'draining') return 0
    const target = concurrency + prefetch.size(concurrency)
    const free = Math.min(target - running.size - buffer.length, 1000)
    if (settlingCount > 2 * target) return 0
    return buffer.length === 0 && running.size < concurrency ? Math.max(free, 0) : free >= target / 2 ? free : 0
  }

  /** Remembers to look at an instant of the database (ms since 1970), if that is sooner than planned. */
  const lookAtDatabaseTime = (instantMs: number): void => {
    const at = lastClaim ? lastClaim.receivedAt + (instantMs - lastClaim.polledAtMs) : 0
    lookAt = Math.min(lookAt, at)
  }

  const accept = ({ controls, polled, polledAtMs, receivedAt, payloadChars }: Claimed<Payload>): void => {
    lastClaim = { receivedAt, polledAtMs, at: new Date() }
    prefetch.claimed(controls.length, payloadChars)
    lookAt = Math.min(lookAt, receivedAt + Math.min(pollMs, polled.pollIntervalMs))
    if (polled.nextReadyAt !== null) lookAtDatabaseTime(epochMs(polled.nextReadyAt))
    isDrained = controls.length === 0 && running.size === 0 && buffer.length === 0
    buffer.push(...controls)
    startHandlers()
    if (state === 'stopping' || state === 'paused') void releaseBuffer()
  }

  const claimLoop = async (): Promise<void> => {
    let failures = 0
    while (state !== 'stopping' && state !== 'failed') {
      const max = room()
      if (max === 0 || performance.now() < lookAt) {
        await latch.wait(max === 0 ? Number.POSITIVE_INFINITY : lookAt)
        continue
      }
      // From here on a notification counts for the next look: this one may not see what it announces.
      lookAt = Number.POSITIVE_INFINITY
      try {
        accept(await claim<Payload>(client, { queue, schema: definition.payload, max, leaseMs, isKept: true }))
        failures = 0
        if (state === 'draining' && isDrained && lookAt > performance.now()) state = 'stopping'
      } catch (cause) {
        const error = fromDatabase(cause)
        if (!isTransient(error)) throw error
        const retryMs = Math.min(50 * 2 ** failures++, 1000) * (0.75 + Math.random() / 2)
        emit({ type: 'consumer.error', queue, error, retryMs })
        lookAt = performance.now() + retryMs
      }
    }
  }

  // --- handling

  const startHandlers = (): void => {
    while (running.size < concurrency && buffer.length > 0 && state !== 'paused') {
      const control = buffer.shift()!
      if (!control.held.lost) void handle(control)
    }
    latch.set()
  }

  const handle = async (control: MessageControl<Payload>): Promise<void> => {
    const { message } = control
    running.add(control)
    const startedAt = performance.now()
    emit({ type: 'message.started', queue, id: message.id, attempt: message.attempt, latenessMs: message.latenessMs })
    let failure: { readonly error: unknown } | undefined
    try {
      await handler(message)
    } catch (error) {
      failure = { error }
    }
    const runMs = performance.now() - startedAt
    prefetch.handled(runMs)
    running.delete(control)
    startHandlers()
    await settling(control, async () => {
      // What a handler throws because the consumer wants its message back is no failure of the message.
      if (failure && wantedBack.has(control) && !control.settlement() && !control.held.lost) {
        await giveBack(client, control)
        report.released++
        return
      }
      await (failure ? settleThrown(client, control, failure.error) : settleReturned(client, control, runMs))
      report.finished++
    })
    if (state === 'draining' && running.size === 0) lookAt = 0
    latch.set()
  }

  /** Runs a settle to its end. What fails here ends with the lease, and the message comes again. */
  const settling = async (control: MessageControl<Payload>, settle: () => Promise<void>): Promise<void> => {
    settlingCount++
    try {
      await settle()
    } catch (cause) {
      const error = fromDatabase(cause) // a lost lease has told of itself already
      if (error.code !== 'lease.lost')
        emit({ type: 'consumer.error', queue, error, retryMs: control.held.trustedUntil - performance.now() })
    } finally {
      settlingCount--
      progress.set()
    }
  }

  /** Gives back what is claimed and not started. */
  const releaseBuffer = async (): Promise<void> => {
    const release = (control: MessageControl<Payload>): Promise<void> =>
      settling(control, async () => {
        await giveBack(client, control)
        report.released++
      })
    await Promise.all(buffer.splice(0).map(release))
  }

  // --- stopping

  const progress = createLatch()
  const wantedBack = new WeakSet<MessageControl<Payload>>()
  const abortHandlers = (): void => {
    for (const control of running) {
      wantedBack.add(control)
      control.abort(new DueqError('consumer.stopped', `The consumer of queue "${queue}" stops.`))
    }
  }

  let stopping: Promise<StopReport> | undefined
  const stop = async (options: StopOptions = {}): Promise<StopReport> => {
    knownOptions('stop', options, ['mode', 'deadline'])
    const mode = oneOf('mode', options.mode ?? 'finish', ['finish', 'release', 'drain'])
    const deadlineMs = durationMs('deadline', options.deadline ?? '30s', { max: '1d' })
    if (mode === 'release') abortHandlers()
    stopping ??= finish(mode, performance.now() + deadlineMs)
    return stopping
  }

  const finish = async (mode: 'finish' | 'release' | 'drain', deadline: number): Promise<StopReport> => {
    if (state === 'running' || state === 'paused') state = mode === 'drain' ? 'draining' : 'stopping'
    Object.assign(report, { finished: 0, released: 0 })
    lookAt = Math.min(lookAt, performance.now())
    latch.set()
    const isBusy = (): boolean => state === 'draining' || running.size > 0 || settlingCount > 0
    if (mode !== 'drain') await releaseBuffer()
    while (isBusy() && performance.now() < deadline) await progress.wait(deadline)
    if (state === 'draining') state = 'stopping'
    report.stillRunning = running.size
    latch.set()
    if (buffer.length > 0) await releaseBuffer()
    abortHandlers()
    for (const { held } of running) client.leases.drop(held)
    await looping
    unsubscribe()
    options.signal?.removeEventListener('abort', onAbort)
    client.open.delete(consumer)
    if (state !== 'failed') state = 'stopped'
    emit({ type: 'consumer.stopped', queue, consumer: client.name })
    return { ...report }
  }

  const onAbort = (): void => void stop().catch(() => {})
  const unsubscribe = client.wakeups.subscribe(queue, (readyAtSeconds) => {
    if (readyAtSeconds === null) lookAt = 0
    else lookAtDatabaseTime(readyAtSeconds * 1000)
    latch.set()
  })

  emit({ type: 'consumer.started', queue, consumer: client.name })
  let failed: DueqError | undefined
  const looping = claimLoop().then(
    () => progress.set(),
    (error: DueqError) => {
      failed = error
      state = 'failed'
      emit({ type: 'consumer.error', queue, error, retryMs: Number.POSITIVE_INFINITY })
      progress.set()
    },
  )
  const stopped = looping.then(async () => {
    const result = await (stopping ??= finish('finish', performance.now() + 30_000))
    if (failed) throw failed
    return result
  })
  stopped.catch(() => {}) // told by the event; whoever awaits `stopped` is told as well

  const consumer: Consumer = {
    pause() {
      if (state !== 'running') return
      state = 'paused'
      void releaseBuffer()
    },
    resume() {
      if (state !== 'paused') return
      state = 'running'
      lookAt = 0
      latch.set()
    },
    setConcurrency(value) {
      concurrency = wholeNumber('concurrency', value, 1, 10_000)
      startHandlers()
    },
    get status() {
      const lastClaimAt = lastClaim?.at ?? null
      return {
        state,
        concurrency,
        running: running.size,
        buffered: buffer.length,
        settling: settlingCount,
        lastClaimAt,
      }
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
