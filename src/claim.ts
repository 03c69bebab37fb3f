// One claim: a poll, and a message in the care of this process for everything that it gave.
import type { StandardSchemaV1 } from '@standard-schema/spec'
import type { Client } from './client.js'
import { createMessage, epochMs, type MessageControl } from './message.js'
import type { Delivery, Polled } from './statements.js'

/** What to claim. `leaseMs` undefined: the lease of the queue. */
export type Claim = {
  readonly queue: string
  readonly schema: StandardSchemaV1 | undefined
  readonly max: number
  /** How many of them start at once: with a message that has lapsed before no more are claimed. */
  readonly handlers: number
  readonly leaseMs: number | undefined
  readonly isKept: boolean
}

/** What came of it. Times are on the clock of `performance.now()`, except `polledAtMs`, which is that of the database. */
export type Claimed<Payload> = {
  readonly controls: readonly MessageControl<Payload>[]
  readonly polled: Polled
  readonly polledAtMs: number
  readonly receivedAt: number
  /** JSON text of all payloads, for bounding memory. */
  readonly payloadChars: number
}

/** Polls once. A payload that its schema refuses goes to the dead letters with the issues as its error. */
export async function claim<Payload>(
  client: Client,
  { queue, schema, max, handlers, leaseMs, isKept }: Claim,
): Promise<Claimed<Payload>> {
  const { statements, query, emit } = client
  const sentAt = performance.now()
  const polled = await statements.poll(query, queue, { max, leaseMs, consumer: client.name, handlers })
  const receivedAt = performance.now()
  const polledAtMs = epochMs(polled.polledAt)

  const control = (delivery: Delivery, payload: Payload): MessageControl<Payload> =>
    createMessage({
      delivery,
      payload,
      queue,
      leases: client.leases,
      leaseMs: Math.round(epochMs(delivery.leaseEndsAt) - polledAtMs),
      isKept,
      sentAt,
      polledAtMs,
      query,
      prepare: client.prepare,
      statements,
      ack: client.ack,
      onLost: (error) => emit({ type: 'lease.lost', queue, id: delivery.id, attempt: delivery.attempt, error }),
    })

  const controls: MessageControl<Payload>[] = []
  let payloadChars = 0
  for (const delivery of polled.deliveries) {
    payloadChars += delivery.payload.length
    const payload: unknown = JSON.parse(delivery.payload)
    if (!schema) {
      controls.push(control(delivery, payload as Payload))
      continue
    }
    const result = await validate(schema, payload)
    if (!result.issues) controls.push(control(delivery, result.value as Payload))
    else {
      const { message, held } = control(delivery, payload as Payload)
      const { id, attempt } = message
      const error = issuesText(result.issues)
      try {
        await message.deadLetter('payload.rejected', error)
        emit({ type: 'message.dead', queue, id, attempt, reason: 'payload.rejected', error })
      } catch {
        client.leases.drop(held) // so that the lease ends, and the next delivery tries again
      }
    }
  }
  return { controls, polled, polledAtMs, receivedAt, payloadChars }
}

/** What a schema says of its input; a schema that throws refuses it. */
export async function validate(schema: StandardSchemaV1, value: unknown): Promise<StandardSchemaV1.Result<unknown>> {
  try {
    const result = await schema['~standard'].validate(value)
    return result ?? { issues: [{ message: 'the schema gave no result' }] }
  } catch (error) {
    return { issues: [{ message: `the schema threw: ${error}` }] }
  }
}

/** The issues of a schema as text: "userId: expected a number; …". */
export function issuesText(issues: readonly StandardSchemaV1.Issue[]): string {
  return issues
    .map(({ message, path }) => {
      const keys = path?.map((step) => String(typeof step === 'object' ? step?.key : step)).join('.')
      return keys ? `${keys}: ${message}` : message
    })
    .join('; ')
}
