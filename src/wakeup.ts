// Wakes consumers early: one LISTEN connection for all queues of a client, opened with the first consumer and closed a
// little after the last.
//
//   closed -> connecting -> testing (a NOTIFY to ourselves, sent where enqueues are sent) -> up -> lost -> connecting …
//                              `-> silent: LISTEN delivers nothing (a pooler in between?): polling goes on, tried again later
//
// While it is up, a heartbeat asks with one statement whether the connection answers and whether notifications come: a NOTIFY
// to ourselves, on the connection itself, so that it tells of silence also where everything else went silent. The test from
// where enqueues are sent follows when a look has failed (fail-over may have left the listener on another server), and at
// times without a reason.
//
// Invariant: a notification is only a hint. Whenever one may have been missed (connected, reconnected, lost), every
// subscriber is told to look. While nothing is heard, consumers poll as they always do.
import { randomBytes } from 'node:crypto'
import { fromDatabase } from './database-errors.js'
import type { Query } from './driver.js'
import { answerWithinMs, createEcho } from './echo.js'
import { DueqError } from './errors.js'
import type { Emit } from './events.js'
import type { ListenSource } from './listen-source.js'
import { createListener } from './listener.js'
import type { Statements } from './statements.js'

/** Called with the instant at which something is ready, in seconds since 1970 by the database; null: look now. */
export type OnWake = (readyAtSeconds: number | null) => void

/** The wake-ups of a client. */
export type Wakeups = {
  /** Tells of the queue from now on, and at once that it should be looked at. */
  subscribe(queue: string, onWake: OnWake): () => void
  /** Something failed that may concern the connection that listens: it is tested. */
  doubt(): void
  /** Whether notifications are arriving. */
  readonly isUp: boolean
  close(): Promise<void>
}

type Options = {
  readonly source: ListenSource | undefined
  /** The channel that the schema notifies on. */
  readonly channel: string
  readonly statements: Statements
  /** Where enqueues are sent. */
  readonly query: Query
  readonly emit: Emit
}

const heartbeatMs = 15_000
/** Every so many heartbeats the test is made from where enqueues are sent: every 5 minutes. */
const fullTestEvery = 20
/** The shortest pause between tests. */
const retestMs = 1_000
const connectWithinMs = 10_000
/** The longest pause between tries to connect, like that of consumers: a server that is back is soon listened to. */
const longestRetryMs = 1_000
const silentRetryMs = 60_000

/** Makes the wake-ups of a client; without a source it never listens, and consumers poll. */
export function createWakeups({ source, channel, statements, query, emit }: Options): Wakeups {
  const subscribers = new Map<string, Set<OnWake>>()
  const beatChannel = `${channel}_${randomBytes(5).toString('hex')}`
  let isUp = false
  let session: AbortController | undefined
  let running: Promise<void> = Promise.resolve()
  /** Aborts where the connection that listens is to be tested. */
  let doubt = new AbortController()
  /** What was said since notifications last arrived: it outlives the connection, which comes and goes with consumers. */
  const told = new Set<string>()
  let isClosed = false

  const wakeAll = (): void => {
    for (const set of subscribers.values()) for (const onWake of set) onWake(null)
  }
  const onNotification = (payload: string): void => {
    const at = payload.lastIndexOf(' ')
    for (const onWake of subscribers.get(payload.slice(0, at)) ?? []) onWake(Number(payload.slice(at + 1)))
  }

  /** One connection, from connect to its end. Resolves where LISTEN is silent from the start, rejects where it is lost. */
  const listenOnce = async (source: ListenSource, stopped: AbortSignal, onUp: () => void): Promise<void> => {
    const echo = createEcho()
    const channels = new Map([
      [channel, onNotification],
      [beatChannel, echo.heard],
    ])
    const listener = createListener(source, statements, channels)
    const { closed, end } = listener
    stopped.addEventListener('abort', end, { once: true })
    try {
      await within(connectWithinMs, stopped, listener.listen())
      for (let beatCount = 0; !closed.aborted; beatCount++) {
        if (!isUp || doubt.signal.aborted || beatCount % fullTestEvery === 0) {
          doubt = new AbortController()
          const result = await echo.test((payload) => statements.notify(query, beatChannel, payload), closed)
          if (result === 'unheard' && !isUp) return
          if (result === 'unheard') throw unheardError()
          // A test that could not be made is no reason to wait: statements and listener may have gone silent together.
          if (result === 'unsent') doubt.abort()
          else if (!isUp) {
            isUp = true
            onUp()
            // For what was missed; and who listens for certain announces its sleep, with a look: else no producer would wake it.
            wakeAll()
          }
        }
        await pause(retestMs, closed)
        if (isUp) await pause(heartbeatMs - retestMs, closed, doubt.signal)
        // Never during the test: a pooler passes notifications on while it lends the session for a statement. Such a listener
        // is not up, and is asked for an answer only.
        if (!isUp) await within(answerWithinMs, closed, listener.listen())
        else if ((await echo.test((payload) => listener.notify(beatChannel, payload), closed)) !== 'heard')
          throw closed.aborted ? closed.reason : unheardError()
      }
      throw closed.reason
    } finally {
      stopped.removeEventListener('abort', end)
      if (isUp) wakeAll()
      isUp = false
      end()
    }
  }

  const run = async (source: ListenSource, signal: AbortSignal): Promise<void> => {
    let failures = 0
    const tell = (type: 'listen.silent' | 'listen.lost', error: DueqError): void => {
      const what = `${type} ${error.code}`
      if (!told.has(what)) emit({ type, error })
      told.add(what)
    }
    while (!signal.aborted) {
      let retryMs = silentRetryMs
      try {
        await listenOnce(source, signal, () => {
          told.clear()
          failures = 0
          emit({ type: 'listen.up' })
        })
        if (signal.aborted) return
        tell('listen.silent', silentError())
      } catch (error) {
        if (signal.aborted) return
        retryMs = Math.min(50 * 2 ** failures++, longestRetryMs) * (0.75 + Math.random() / 2)
        tell('listen.lost', lostError(error))
      }
      await pause(retryMs, signal)
    }
  }

  const start = (): void => {
    if (!source || session || isClosed) return
    const { signal } = (session = new AbortController())
    running = running.then(() => run(source, signal))
  }
  const stop = (): void => {
    session?.abort(new DueqError('client.closed', 'stopped listening'))
    session = undefined
  }

  return {
    subscribe(queue, onWake) {
      const set = subscribers.get(queue) ?? new Set()
      subscribers.set(queue, set.add(onWake))
      start()
      onWake(null)
      return () => {
        set.delete(onWake)
        if (set.size === 0 && subscribers.get(queue) === set) subscribers.delete(queue)
        if (subscribers.size === 0) stop()
      }
    },
    doubt: () => doubt.abort(),
    get isUp() {
      return isUp
    },
    async close() {
      isClosed = true
      stop()
      await running
    },
  }
}

// --- internal ---

/** Rejects where it takes longer, and where the signal aborts. */
function within(ms: number, signal: AbortSignal, answer: Promise<void>): Promise<void> {
  return new Promise((resolve, reject) => {
    const onAbort = (): void => reject(signal.reason)
    const timer = setTimeout(() => reject(new DueqError('timeout', `the database did not answer within ${ms} ms`)), ms)
    if (signal.aborted) onAbort()
    else signal.addEventListener('abort', onAbort, { once: true })
    answer.then(resolve, reject).finally(() => {
      clearTimeout(timer)
      signal.removeEventListener('abort', onAbort)
    })
  })
}

/** Waits, at most until one of the signals aborts. */
function pause(ms: number, ...signals: readonly AbortSignal[]): Promise<void> {
  return new Promise((resolve) => {
    if (signals.some(({ aborted }) => aborted)) return resolve()
    const done = (): void => {
      clearTimeout(timer)
      for (const signal of signals) signal.removeEventListener('abort', done)
      resolve()
    }
    const timer = setTimeout(done, ms).unref()
    for (const signal of signals) signal.addEventListener('abort', done, { once: true })
  })
}

function unheardError(): DueqError {
  return new DueqError('timeout', `a notification to ourselves did not arrive within ${answerWithinMs} ms`)
}

function silentError(): DueqError {
  return new DueqError(
    'timeout',
    'LISTEN delivers no notifications, so dueq polls instead (every poll interval). Behind a pooler in transaction mode, give a direct `listenUrl` (DUEQ_LISTEN_URL), or `listen: false` to say that this is intended.',
  )
}

function lostError(error: unknown): DueqError {
  const cause = fromDatabase(error)
  return new DueqError(
    cause.code,
    `The connection that listens is lost; dueq polls until it is back (it tries by itself): ${cause.message}`,
    { cause: error },
  )
}
