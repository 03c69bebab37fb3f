// What a consumer does about a message after its handler: ack what returned, nack what threw, give back what the consumer
// wants back. Each is repeated over transient errors while the lease is kept, and given up when the lease is lost.
import type { Client } from './client.js'
import { fromDatabase } from './database-errors.js'
import { type DueqError, isTransient } from './errors.js'
import { errorText } from './message.js'
import type { MessageControl } from './message-control.js'

/**
 * The handler returned: ack, unless it has settled the message itself. `failed`: why an ack of the short way was not answered;
 * it is repeated like any other.
 */
export async function settleReturned(
  client: Client,
  control: MessageControl<unknown>,
  failed?: DueqError,
): Promise<void> {
  if (!control.settlement) await persist(client, control, () => control.verbs.ack(), failed)
  tellAcked(client, control)
}

/** Tells that the message was acked, if it was. */
export function tellAcked({ emit, isHeard }: Client, control: MessageControl<unknown>): void {
  if (!isHeard || control.settlement?.as !== 'acked') return
  const { queue, id, attempt, runMs } = control
  emit({ type: 'message.acked', queue, id, attempt, runMs })
}

/** The handler threw: nack, unless it has settled the message itself or has lost its lease. */
export async function settleThrown(client: Client, control: MessageControl<unknown>, error: unknown): Promise<void> {
  const { queue, id, attempt, settlement } = control
  let outcome: 'retry' | 'dead' | 'lost' | 'settled' | null = settlement ? 'settled' : 'lost'
  try {
    // Settled inside a transaction of the handler: if that was rolled back the attempt is still open, and the fence knows.
    if (settlement?.isInTransaction)
      outcome =
        (await persist(client, control, () => client.returns.nack(control, errorText(error), undefined))) ?? 'settled'
    else if (!settlement && !control.lost) outcome = await persist(client, control, () => control.verbs.nack(error))
  } finally {
    client.emit({ type: 'message.failed', queue, id, attempt, error, outcome })
    if (outcome === 'dead') client.emit({ type: 'message.dead', queue, id, attempt, reason: 'exhausted', error })
  }
}

/** Gives the message back, which is no failure. */
export async function giveBack(client: Client, control: MessageControl<unknown>): Promise<void> {
  const { queue, id, attempt } = control
  await persist(client, control, () => control.verbs.release())
  client.emit({ type: 'message.released', queue, id, attempt })
}

// --- internal ---

/** Tries for an error that dueq does not know: it may pass, and it may be there for good while extensions get through. */
const unknownTries = 10

/** Repeats a settle while the lease lasts; extensions make that longer, where they get through. `failed`: the first try's error. */
async function persist<T>(
  client: Client,
  control: MessageControl<unknown>,
  settle: () => Promise<T>,
  failed?: DueqError,
): Promise<T> {
  for (let failures = 0; ; failures++) {
    try {
      if (failed && failures === 0) throw failed
      return await settle()
    } catch (cause) {
      const error = fromDatabase(cause)
      const retryMs = Math.min(50 * 2 ** failures, 1000)
      const isHopeless = !isTransient(error) || (error.code === 'database.error' && failures >= unknownTries)
      if (isHopeless || performance.now() + retryMs >= control.trustedUntil) throw error
      client.emit({ type: 'consumer.error', queue: control.queue, error, retryMs })
      await new Promise((resolve) => setTimeout(resolve, retryMs))
    }
  }
}
