// A notification sent to ourselves: whether it comes back says whether LISTEN delivers.
import { randomBytes } from 'node:crypto'

/** How long an answer of the database may take before it counts as none, in ms. */
export const answerWithinMs = 3_000

/** Sends notifications to ourselves and waits for them to come back. */
export type Echo = {
  heard(payload: string): void
  /** Ends early, as unsent, when the signal aborts. */
  test(send: (payload: string) => Promise<void>, signal: AbortSignal): Promise<'heard' | 'unheard' | 'unsent'>
}

/** Makes an echo. */
export function createEcho(): Echo {
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
      const after = <T>(ms: number, outcome: T): Promise<T> =>
        new Promise((resolve) => {
          clearTimeout(timer)
          timer = setTimeout(resolve, ms, outcome)
        })
      const answer = async (): Promise<'heard' | 'unheard' | 'unsent'> => {
        const sent = send(token).then(
          () => true,
          () => false,
        )
        // Statements that fail or hang say nothing about LISTEN.
        if (!(await Promise.race([sent, after(answerWithinMs, false)]))) return 'unsent'
        if (signal.aborted) return 'unsent' // nobody is left to clear the timer
        return Promise.race([arrival, after(answerWithinMs, 'unheard' as const)])
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
