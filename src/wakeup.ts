// Wakes consumers early: one LISTEN connection for all queues of a client, opened with the first consumer and closed a
// little after the last.
//
//   closed -> connecting -> testing (a NOTIFY to ourselves, sent where enqueues are sent) -> up -> lost -> connecting …
//                              `-> silent: LISTEN delivers nothing (a pooler in between?): polling goes on, tried again later
//
// While it is up, a heartbeat asks two things: whether the connection answers, and whether a NOTIFY to ourselves comes back.
// The first needs no statement elsewhere, so it tells of a connection that went silent also where everything else did.
//
// Invariant: a notification is only a hint. Whenever one may have been missed (connected, reconnected, lost), every
// subscriber is told to look. While nothing is heard, consumers poll as they always do.
import { randomBytes } from 'node:crypto'
import { fromDatabase } from './database-errors.js'
import type { Query } from './driver.js'
import { answerWithinMs, createEcho } from './echo.js'
import { DueqError } from './errors.js'
import type { Emit } from './events.js'
import { createListener } from './listener.js'
import type { ListenSource } from './pool.js'
import { createRollCall } from './roll-call.js'
import type { Statements } from './statements.js'

/** Called with the instant at which something is ready, in seconds since 1970 by the database; null: look now. */
export type OnWake = (readyAtSeconds: number | null) => void

/** The wake-ups of a client. */
export type Wakeups = {
  subscribe(queue: string, onWake: OnWake): () => void
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

const heartbeatMs = 10_000
const connectWithinMs = 10_000
/** The longest pause between tries to connect, like that of consumers: a server that is back is soon listened to. */
const longestRetryMs = 1_000
const silentRetryMs = 60_000
/** How long the connection outlives its last subscriber, so that one long poll after the other does not reconnect. */
const lingerMs = 5_000

/** Makes the wake-ups of a client; without a source it never listens, and consumers poll. */
export function createWakeups({ source, channel, statements, query, emit }: Options): Wakeups {
  const subscribers = new Map<string, Set<OnWake>>()
  const beatChannel = `${channel}_${randomBytes(5).toString('hex')}`
  let isUp = false
  let session: AbortController | undefined
  let running: Promise<void> = Promise.resolve()
  let lingering: NodeJS.Timeout | undefined
  /** What was said since notifications last arrived: it outlives the connection, which comes and goes with consumers. */
  const told = new Set<string>()
  let isClosed = false

  const rollCall = createRollCall<OnWake>((onWake) => onWake(null))
  const wakeAll = (): void => rollCall.begin([...subscribers.values()].flatMap((set) => [...set]))
  const onNotification = (payload: string): void => {
    const at = payload.lastIndexOf(' ')
    for (const onWake of subscribers.get(payload.slice(0, at)) ?? []) onWake(Number(payload.slice(at + 1)))
  }

  /** One connection, from connect to its end. Resolves where LISTEN is silent from the start, rejects where it is lost. */
  const listenOnce = async (source: ListenSource, stopped: AbortSignal, onUp: () => void): Promise<void> => {
    const echo = createEcho()
    const channels = new Map([
      [beatChannel, echo.heard],
      [channel, onNotification],
    ])
    const listener = createListener(source, statements, channels)
    const { closed, end } = listener
    stopped.addEventListener('abort', end, { once: true })
    try {
      await within(connectWithinMs, stopped, listener.listen())
      wakeAll()
      while (!closed.aborted) {
        const result = await echo.test((payload) => statements.notify(query, beatChannel, payload), closed)
        if (result === 'unheard' && !isUp) return
        if (result === 'unheard')
          throw new DueqError('timeout', `a notification to ourselves did not arrive within ${answerWithinMs} ms`)
        if (result === 'heard' && !isUp) {
          isUp = true
          onUp()
        }
        // A test that could not be made is no reason to wait: statements and listener may have gone silent together.
        await pause(isUp && result === 'heard' ? heartbeatMs : 1000, closed)
        // Never during the test: a pooler passes notifications on while it lends the session for a statement.
        await within(answerWithinMs, closed, listener.listen())
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
    clearTimeout(lingering)
    if (!source || session || isClosed) return
    const { signal } = (session = new AbortController())
    running = running.then(() => run(source, signal))
  }
  const stop = (): void => {
    clearTimeout(lingering)
    session?.abort(new DueqError('client.closed', 'stopped listening'))
    session = undefined
  }

  return {
    subscribe(queue, onWake) {
      const set = subscribers.get(queue) ?? new Set()
      subscribers.set(queue, set.add(onWake))
      start()
      return () => {
        set.delete(onWake)
        rollCall.remove(onWake)
        if (set.size === 0 && subscribers.get(queue) === set) subscribers.delete(queue)
        if (subscribers.size === 0) lingering = setTimeout(stop, lingerMs).unref()
      }
    },
    get isUp() {
      return isUp
    },
    async close() {
      isClosed = true
      stop()
      await running
      rollCall.clear()
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

/** Waits, at most until the signal aborts. */
function pause(ms: number, signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    if (signal.aborted) return resolve()
    const done = (): void => {
      clearTimeout(timer)
      signal.removeEventListener('abort', done)
      resolve()
    }
    const timer = setTimeout(done, ms).unref()
    signal.addEventListener('abort', done, { once: true })
  })
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
