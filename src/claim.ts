// One claim: a poll, which takes the acks that wait along, and a message in the care of this process for everything that it gave.
import type { StandardSchemaV1 } from '@standard-schema/spec'
import type { Client } from './client.js'
import { fromDatabase } from './database-errors.js'
import { DueqError } from './errors.js'
import { type ClaimContext, MessageControl } from './message-control.js'
import { issuesText, validateAll } from './payload-schema.js'
import type { Delivery, Polled } from './statements-poll.js'
import type { Turn } from './watch.js'

/** What to claim. `leaseMs` undefined: the lease of the queue. */
export type Claim = {
  readonly queue: string
  readonly schema: StandardSchemaV1 | undefined
  readonly max: number
  /** How many of them start at once: with a message that has lapsed before no more are claimed. */
  readonly handlers: number
  readonly leaseMs: number | undefined
  readonly isKept: boolean
  /** The turn at the watch of the queue, which is told what came of the poll; undefined: a look for itself. */
  readonly turn: Turn | undefined
}

/** What came of it. */
export type Claimed<Payload> = {
  readonly controls: readonly MessageControl<Payload>[]
  /** JSON text of all payloads, for bounding memory. */
  readonly payloadChars: number
  /** Somebody else was claiming what was in front. */
  readonly isCrowded: boolean
}

/**
 * Polls once. A payload that its schema refuses goes to the dead letters with the issues as its error; one about which the
 * schema gives no answer while a third of the lease lasts is nacked.
 */
export async function claim<Payload>(
  client: Client,
  { queue, schema, max, handlers, leaseMs, isKept, turn }: Claim,
): Promise<Claimed<Payload>> {
  const { statements, query, urgent, emit } = client
  const sentAt = performance.now()
  const ride = client.acks.board()
  const { hint, wokenFromSeconds, isListening, sleepMs } = turn ?? {}
  const consumer = client.name
  const asked = { max, leaseMs, consumer, handlers, hint, wokenFromSeconds, isListening, sleepMs, acks: ride }
  let polled: Polled
  try {
    // The leases of what rides run on: it goes before what has none, like acks by themselves.
    polled = await statements.poll(
      ride ? urgent : query,
      queue,
      asked,
      ({ deliveries }) => void giveBack(client, deliveries),
    )
  } catch (error) {
    ride?.failed(fromDatabase(error))
    throw error
  }
  turn?.answered({ polled, sentAt, receivedAt: performance.now() })
  ride?.arrived(polled.refusedAcks)
  const { polledAtMs, leaseEndsAtMs } = polled

  const context: ClaimContext = {
    queue,
    leases: client.leases,
    leaseMs: Math.round(leaseEndsAtMs - polledAtMs),
    isKept,
    sentAt,
    polledAtMs,
    leaseEndsAtMs,
    query: urgent,
    prepare: client.prepare,
    statements,
    acks: client.acks,
    returns: client.returns,
    pending: client.pending,
    onLost: ({ id, attempt }, error) => emit({ type: 'lease.lost', queue, id, attempt, error }),
  }

  const { deliveries, payloadChars, isCrowded } = polled
  const results =
    schema && deliveries.length > 0
      ? await validateAll(
          schema,
          deliveries.map(({ payload }) => payload),
          context.leaseMs / 3,
        )
      : undefined
  // All leases are in care before the first refusal is sent: that may wait, and they would run out behind it.
  const controls: MessageControl<Payload>[] = []
  const refusals: [MessageControl<Payload>, StandardSchemaV1.FailureResult | undefined][] = []
  for (let i = 0; i < deliveries.length; i++) {
    const delivery = deliveries[i]!
    const result = results?.[i]
    if (!results) controls.push(new MessageControl(context, delivery, delivery.payload as Payload))
    else if (result && !result.issues) controls.push(new MessageControl(context, delivery, result.value as Payload))
    else refusals.push([new MessageControl(context, delivery, delivery.payload as Payload), result])
  }
  for (const [refusal, result] of refusals) await refuse(client, queue, refusal, result)
  return { controls, payloadChars, isCrowded }
}

// --- internal ---

/** Settles a message that its schema refuses, or (without a result) about which that gave no answer. */
async function refuse(
  { leases, emit }: Client,
  queue: string,
  control: MessageControl<unknown>,
  result: StandardSchemaV1.FailureResult | undefined,
): Promise<void> {
  const { verbs, id, attempt } = control
  try {
    if (result) {
      const error = issuesText(result.issues)
      await verbs.deadLetter('payload.rejected', error)
      emit({ type: 'message.dead', queue, id, attempt, reason: 'payload.rejected', error })
    } else {
      const error = new DueqError('timeout', `The schema of queue "${queue}" gave no answer about message ${id}.`)
      const outcome = await verbs.nack(error)
      emit({ type: 'message.failed', queue, id, attempt, error, outcome })
      if (outcome === 'dead') emit({ type: 'message.dead', queue, id, attempt, reason: 'exhausted', error })
    }
  } catch {
    leases.drop(control) // so that the lease ends, and the next delivery tries again
  }
}

/**
 * Gives back what was claimed when nobody waited for it any more: a pool of the caller that was busy beyond the deadline
 * runs what waits there all the same, and each such message would lapse.
 */
async function giveBack({ statements, urgent }: Client, deliveries: readonly Delivery[]): Promise<void> {
  const late = deliveries.map(({ id, attempt }) => ({ id, attempt, delayMs: undefined }))
  if (late.length > 0) await statements.releaseMany(urgent, late).catch(() => {}) // their leases end
}
