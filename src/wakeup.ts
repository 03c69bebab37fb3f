// Wakes consumers early: one LISTEN connection for all queues of a client, opened with the first consumer and closed a
// little after the last.
//
//   closed -> connecting -> testing (a NOTIFY to ourselves, sent where enqueues are sent) -> up -> connecting …
//                              `-> silent: LISTEN delivers nothing (a pooler in between?): polling goes on, tried again later
//
// Invariant: a notification is only a hint. Whenever one may have been missed (connected, reconnected, lost), every
// subscriber is told to look. While nothing is heard, consumers poll as they always do.
import { randomBytes } from 'node:crypto'
import { cutOff } from './cut-off.js'
import { DueqError, fromDatabase } from './errors.js'
import type { Emit } from './events.js'
import { type ListenSource, openListener } from './pool.js'
import { createRollCall } from './roll-call.js'

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
  /** Sends a notification the way an enqueue does. */
  readonly notify: (channel: string, payload: string) => Promise<void>
  readonly emit: Emit
}

const heartbeatMs = 10_000
const answerWithinMs = 3_000
const connectWithinMs = 15_000
const silentRetryMs = 60_000
/** How long the connection outlives its last subscriber, so that one long poll after the other does not reconnect. */
const lingerMs = 5_000

/** Makes the wake-ups of a client; without a source it never listens, and consumers poll. */
export function createWakeups({ source, channel, notify, emit }: Options): Wakeups {
  const subscribers = new Map<string, Set<OnWake>>()
  const beatChannel = `${channel}_${randomBytes(5).toString('hex')}`
  let isUp = false
  let session: AbortController | undefined
  let running: Promise<void> = Promise.resolve()
  let lingering: NodeJS.Timeout | undefined
  /** What was said since notifications last arrived: it outlives the connection, which comes and goes with consumers. */
  const told = new Set<'lost' | 'silent'>()
  let isClosed = false

  const rollCall = createRollCall<OnWake>((onWake) => onWake(null))
  const wakeAll = (): void => rollCall.begin([...subscribers.values()].flatMap((set) => [...set]))
  const onNotification = (payload: string): void => {
    const at = payload.lastIndexOf(' ')
    for (const onWake of subscribers.get(payload.slice(0, at)) ?? []) onWake(Number(payload.slice(at + 1)))
  }

  /** One connection, from connect to its end. Resolves where LISTEN is silent from the start, rejects where it is lost. */
  const listenOnce = async (source: ListenSource, signal: AbortSignal, onUp: () => void): Promise<void> => {
    const sql = openListener(source)
    const echo = createEcho()
    const end = (): void => void cutOff(sql)
    signal.addEventListener('abort', end, { once: true })
    try {
      await within(connectWithinMs, signal, async () => {
        await sql.listen(beatChannel, echo.heard)
        await sql.listen(channel, onNotification, wakeAll)
      })
      while (!signal.aborted) {
        const result = await echo.test((payload) => notify(beatChannel, payload), signal)
        if (result === 'unheard' && !isUp) return
        if (result === 'unheard')
          throw new DueqError('timeout', `a notification to ourselves did not arrive within ${answerWithinMs} ms`)
        if (result === 'heard' && !isUp) {
          isUp = true
          onUp()
        }
        await pause(result === 'heard' ? heartbeatMs : 1000, signal)
      }
    } finally {
      signal.removeEventListener('abort', end)
      isUp = false
      end()
    }
  }

  const run = async (source: ListenSource, signal: AbortSignal): Promise<void> => {
    let failures = 0
    while (!signal.aborted) {
      let retryMs = silentRetryMs
      try {
        await listenOnce(source, signal, () => {
          told.clear()
          failures = 0
          emit({ type: 'listen.up' })
        })
        if (signal.aborted) return
        if (!told.has('silent')) emit({ type: 'listen.silent', error: silentError() })
        told.add('silent')
      } catch (error) {
        if (signal.aborted) return
        retryMs = Math.min(250 * 2 ** failures++, 15_000)
        if (told.size === 0) emit({ type: 'listen.lost', error: lostError(error) })
        told.add('lost')
      }
      wakeAll()
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

type Echo = {
  heard(payload: string): void
  /** Ends early, as unsent, when the signal aborts. */
  test(send: (payload: string) => Promise<void>, signal: AbortSignal): Promise<'heard' | 'unheard' | 'unsent'>
}

/** Sends notifications to ourselves and waits for them to come back. */
function createEcho(): Echo {
  let expected: { readonly token: string; readonly arrived: () => void } | undefined
  return {
    heard(payload) {
      if (payload === expected?.token) expected.arrived()
    },
    async test(send, signal) {
      const token = randomBytes(6).toString('hex')
      let timer: NodeJS.Timeout | undefined
      let onAbort = (): void => {}
      const arrival = new Promise<'heard'>((resolve) => {
        expected = { token, arrived: () => resolve('heard') }
      })
      const aborted = new Promise<'unsent'>((resolve) => {
        onAbort = () => resolve('unsent')
        signal.addEventListener('abort', onAbort, { once: true })
      })
      const answer = async (): Promise<'heard' | 'unheard' | 'unsent'> => {
        try {
          await send(token)
        } catch {
          return 'unsent' // statements fail too: nothing is known about LISTEN
        }
        if (signal.aborted) return 'unsent' // nobody is left to clear the timer
        const late = new Promise<'unheard'>((resolve) => {
          timer = setTimeout(() => resolve('unheard'), answerWithinMs)
        })
        return Promise.race([arrival, late])
      }
      try {
        return await Promise.race([answer(), aborted])
      } finally {
        clearTimeout(timer)
        signal.removeEventListener('abort', onAbort)
        expected = undefined
      }
    },
  }
}

/** Rejects where it takes longer, or where the signal aborts. */
function within(ms: number, signal: AbortSignal, run: () => Promise<void>): Promise<void> {
  return new Promise((resolve, reject) => {
    const fail = (): void => {
      clearTimeout(timer)
      reject(new DueqError('timeout', `the database did not answer within ${ms} ms`))
    }
    const timer = setTimeout(fail, ms)
    signal.addEventListener('abort', fail, { once: true })
    run()
      .then(resolve, reject)
      .finally(() => {
        clearTimeout(timer)
        signal.removeEventListener('abort', fail)
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
