// Messages as an async iterator: the body of the loop is the handler. Asking for the next message acks the one before,
// unless the body has settled it; leaving the loop with an unsettled message nacks it, because `throw` and `break` look the
// same from here and a message that breaks the loop must not come back for ever.
import type { Client } from './client.js'
import type { ConsumeOptions } from './consume-options.js'
import { startConsumer } from './consumer.js'
import type { QueueDefinition } from './definition.js'
import { DueqError } from './errors.js'
import { createLatch } from './latch.js'
import type { Message } from './message.js'

export type MessagesOptions = Pick<ConsumeOptions, 'lease' | 'pollInterval' | 'signal'>

/** Iterates over the messages of a queue, one at a time, until the signal aborts, the client closes or the loop is left. */
export async function* iterate<Payload>(
  client: Client,
  queue: QueueDefinition,
  options: MessagesOptions,
): AsyncGenerator<Message<Payload>, void, void> {
  type Turn = {
    readonly message: Message<Payload>
    readonly done: () => void
  }
  const latch = createLatch()
  let turn: Turn | undefined
  let isStopped = false
  const consumer = startConsumer<Payload>(
    client,
    queue,
    (message) =>
      new Promise<void>((done) => {
        turn = { message, done }
        latch.set()
      }),
    { ...options, concurrency: 1, prefetch: 0 },
  )
  const stopped = consumer.stopped.finally(() => {
    isStopped = true
    latch.set()
  })
  stopped.catch(() => {}) // awaited below
  try {
    while (!isStopped) {
      if (!turn) {
        if (consumer.status.state !== 'running') break
        await latch.wait(Number.POSITIVE_INFINITY)
        continue
      }
      const { message, done } = turn
      yield message
      turn = undefined
      done()
    }
  } finally {
    const left = new DueqError('aborted', 'The loop over the messages was left without settling this one.')
    await turn?.message.nack(left).catch(() => {}) // settled by the body already, or lost
    turn?.done()
    turn = undefined
    await consumer.stop()
  }
  await stopped
}
