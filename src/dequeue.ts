// Raw dequeue: the messages and nothing more. The lease is watched, so that a late settle is refused, but not extended.
// A long poll waits here, in the client, between short statements; nothing ever waits inside the database. What is claimed
// while the client closes could not be settled any more, so it is given back.
import { claim } from './claim.js'
import type { Client, Stoppable } from './client.js'
import type { QueueDefinition } from './definition.js'
import { DueqError, isTransient } from './errors.js'
import { createLatch } from './latch.js'
import type { Message } from './message.js'
import type { MessageControl } from './message-control.js'
import { abortSignal, type Duration, durationMs, knownOptions, wholeNumber } from './options.js'
import type { Turn } from './watch.js'

export type DequeueOptions = {
  /** At most so many messages, 1 to 10000, and of large ones those that come to 16 MB. @default 1 */
  readonly max?: number
  /** How long they are held, 1s to 12h. @default the lease of the queue */
  readonly lease?: Duration
  /** Waits so long for a first message, 0 to 1d. @default 0 */
  readonly wait?: Duration
  /** Ends the wait; rejects with code `aborted`. */
  readonly signal?: AbortSignal
}

/** Claims up to `max` ready messages; waits for the first up to `wait`, and gives none where none came. */
export async function dequeue<Payload>(
  client: Client,
  queue: QueueDefinition,
  options: DequeueOptions = {},
): Promise<Message<Payload>[]> {
  knownOptions('dequeue', options, ['max', 'lease', 'wait', 'signal'])
  const max = wholeNumber('max', options.max ?? 1, 1, 10_000)
  const leaseMs =
    options.lease === undefined ? undefined : durationMs('lease', options.lease, { min: '1s', max: '12h' })
  const waitMs = durationMs('wait', options.wait ?? 0, { max: '1d' })
  const signal = abortSignal('signal', options.signal)
  const deadline = performance.now() + waitMs
  const latch = createLatch()
  const done = createLatch()
  let isClosing = false
  let releasedCount = 0

  const onAbort = (): void => latch.set()
  signal?.addEventListener('abort', onAbort, { once: true })
  const seat =
    waitMs > 0 ? client.watches.join(queue.name, { pollMs: Number.POSITIVE_INFINITY, onTurn: latch.set }) : undefined
  const open: Stoppable = {
    async stop({ deadline = '30s' }) {
      isClosing = true
      latch.set()
      await done.wait(performance.now() + durationMs('deadline', deadline, { max: '1d' }))
      return { finished: 0, released: releasedCount, stillRunning: 0 }
    },
  }
  const isOver = (): boolean => isClosing || signal?.aborted === true
  /** The first look and the last one are made in any case, those between in turn with all others who wait. */
  const nextTurn = async (isFirst: boolean): Promise<Turn | undefined> => {
    while (!isFirst && !isOver() && performance.now() < deadline) {
      const turn = seat?.take()
      if (turn) return turn
      await latch.wait(deadline)
    }
    return isOver() ? undefined : seat?.begin()
  }
  client.open.add(open)
  try {
    for (let isFirst = true; ; isFirst = false) {
      const turn = await nextTurn(isFirst)
      if (isOver()) turn?.failed(true) // in the same moment: somebody else takes the turn
      if (signal?.aborted)
        throw new DueqError('aborted', 'The wait for a message was aborted.', { cause: signal.reason })
      if (isClosing) return []
      const isLast = performance.now() >= deadline
      const { controls } = await claim<Payload>(client, {
        queue: queue.name,
        schema: queue.payload,
        max,
        handlers: 1,
        leaseMs,
        isKept: false,
        turn,
      }).catch((error: DueqError) => {
        turn?.failed(isTransient(error))
        throw error
      })
      if (isClosing) {
        const release = ({ verbs }: MessageControl<Payload>): Promise<void> =>
          verbs.release().then(
            () => void releasedCount++,
            () => {}, // the lease ends
          )
        await Promise.all(controls.map(release))
        return []
      }
      if (controls.length > 0 || isLast) return controls.map((control) => control.takeMessage())
    }
  } finally {
    seat?.leave()
    signal?.removeEventListener('abort', onAbort)
    client.open.delete(open)
    done.set()
  }
}
