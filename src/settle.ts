// What a consumer does about a message after its handler: ack what returned, nack what threw, give back what the consumer
// wants back. Each is repeated over transient errors while the lease is kept, and given up when the lease is lost.
import type { Client } from './client.js'
import { fromDatabase, isTransient } from './errors.js'
import { errorText, type MessageControl } from './message.js'

/** The handler returned: ack, unless it has settled the message itself. */
export async function settleReturned(client: Client, control: MessageControl<unknown>, runMs: number): Promise<void> {
  const { message } = control
  const { queue, id, attempt } = message
  if (!control.settlement()) await persist(client, queue, () => message.ack())
  if (control.settlement()?.as === 'acked') client.emit({ type: 'message.acked', queue, id, attempt, runMs })
}

/** The handler threw: nack, unless it has settled the message itself or has lost its lease. */
export async function settleThrown(client: Client, control: MessageControl<unknown>, error: unknown): Promise<void> {
  const { message, held } = control
  const { queue, id, attempt } = message
  const settlement = control.settlement()
  let outcome: 'retry' | 'dead' | 'lost' | 'settled' | null = settlement ? 'settled' : 'lost'
  try {
    // Settled inside a transaction of the handler: if that was rolled back the attempt is still open, and the fence knows.
    if (settlement?.isInTransaction)
      outcome =
        (await persist(client, queue, () => client.statements.nack(client.query, id, attempt, errorText(error)))) ??
        'settled'
    else if (!settlement && !held.lost) outcome = await persist(client, queue, () => message.nack(error))
  } finally {
    client.emit({ type: 'message.failed', queue, id, attempt, error, outcome })
    if (outcome === 'dead') client.emit({ type: 'message.dead', queue, id, attempt, reason: 'exhausted' })
  }
}

/** Gives the message back, which is no failure. */
export async function giveBack(client: Client, { message }: MessageControl<unknown>): Promise<void> {
  const { queue, id, attempt } = message
  await persist(client, queue, () => message.release())
  client.emit({ type: 'message.released', queue, id, attempt })
}

// --- internal ---

async function persist<T>(client: Client, queue: string, settle: () => Promise<T>): Promise<T> {
  for (let failures = 0; ; failures++) {
    try {
      return await settle()
    } catch (cause) {
      const error = fromDatabase(cause)
      if (!isTransient(error) || failures === 20) throw error
      const retryMs = Math.min(50 * 2 ** failures, 1000)
      client.emit({ type: 'consumer.error', queue, error, retryMs })
      await new Promise((resolve) => setTimeout(resolve, retryMs))
    }
  }
}
