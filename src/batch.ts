// One statement for messages of several callers, who get their own answer each. A statement that was refused for what may be the
// fault of one message is repeated in halves, until that message has failed alone and all others are enqueued. Of what does
// not fit into a full queue, as much is sent as fits.
import type { Enqueuer } from './enqueuer.js'
import { type DueqErrorCode, isDueqError } from './errors.js'
import { partThatFits } from './room.js'
import type { Enqueued, Enqueueing } from './statements-produce.js'

/** A message and its caller. */
export type Entry = {
  readonly message: Enqueueing
  readonly chars: number
  /** When the caller is told that it took too long, by `performance.now()`. */
  readonly deadline: number
  readonly resolve: (enqueued: Enqueued) => void
  readonly reject: (error: unknown) => void
}

/** Sends messages, the oldest first, whose deadline is that of the statement, and answers their callers. Never rejects. */
export async function sendBatch(sender: Enqueuer, queue: string, batch: readonly Entry[]): Promise<void> {
  const { message, deadline } = batch[0]!
  try {
    const answers =
      batch.length === 1
        ? [await sender.one(queue, message, deadline)]
        : await sender.many(
            queue,
            batch.map((entry) => entry.message),
            deadline,
          )
    batch.forEach(({ resolve }, i) => {
      resolve(answers[i]!)
    })
  } catch (error) {
    if (batch.length > 1 && isFull(error)) await sendToFull(sender, queue, batch, partThatFits(error, batch.length))
    else if (batch.length > 1 && isPerhapsOfOne(error)) {
      const half = batch.length >> 1
      await sendBatch(sender, queue, batch.slice(0, half))
      await sendBatch(sender, queue, batch.slice(half))
    } else for (const { reject } of batch) reject(error)
  }
}

// --- internal ---

/** Sends what has room; the others fail, each with the error of a single message, which the first of them asks for. */
async function sendToFull(sender: Enqueuer, queue: string, batch: readonly Entry[], fitting: number): Promise<void> {
  if (fitting > 0) await sendBatch(sender, queue, batch.slice(0, fitting))
  const [first, ...others] = batch.slice(fitting)
  try {
    first!.resolve(await sender.one(queue, first!.message, first!.deadline))
  } catch (error) {
    first!.reject(error)
    if (isFull(error)) {
      for (const { reject } of others) reject(error)
      return
    }
  }
  if (others.length > 0) await sendBatch(sender, queue, others)
}

function isFull(error: unknown): boolean {
  return isDueqError(error) && error.code === 'queue.full'
}

/** Whether the statement took no effect, for a reason that may lie in one message; a trigger of the user may raise anything. */
function isPerhapsOfOne(error: unknown): boolean {
  return isDueqError(error) && !error.isOutcomeUnknown && ofMessages.has(error.code)
}

const ofMessages: ReadonlySet<DueqErrorCode> = new Set<DueqErrorCode>([
  'option.invalid',
  'payload.not_json',
  'payload.too_large',
  'headers.invalid',
  'instant.invalid',
  'duration.invalid',
  'delay.and_at',
  'database.error',
])
