/**
 * The crash of the demonstration: `kill -9` for the consumer that holds the most messages, what the database says it
 * held at that moment, and when each of those messages came again.
 */
import { setTimeout as delay } from 'node:timers/promises'
import type { Query } from '../driver.js'
import type { Statements } from '../statements.js'
import type { Crew, CrewMember } from './crew.js'
import { parseInstant } from './instant.js'
import type { ClaimedRecord } from './journal.js'

export type KilledConsumer = {
  readonly name: string
  readonly pid: number
  /** By the clock of the database. */
  readonly killedAt: string
  readonly held: readonly HeldMessage[]
}

export type HeldMessage = {
  readonly id: string
  readonly attempt: number
  /** The end of the lease, which nobody extends any more. */
  readonly leaseEndsAt: string
}

/** When a held message came again. Nulls: it has not. */
export type Redelivery = {
  readonly id: string
  readonly leaseEndedAfterKillMs: number
  /** Start of the new handler minus the end of the lease. */
  readonly redeliveredAfterMs: number | null
  readonly attempt: number | null
  readonly by: string | null
}

/** The consumer that holds the most, if that is at least so many. */
export function fullestMember(crew: Crew, atLeast: number): CrewMember | undefined {
  const running = crew.members.filter(({ state }) => state === 'running')
  const [fullest] = running.sort((a, b) => b.held - a.held)
  return fullest && fullest.held >= atLeast ? fullest : undefined
}

/** Kills a consumer, and reads from the database what it held. Its leases must have longer to go than a second. */
export async function killMember(
  member: CrewMember,
  queue: string,
  { query, statements }: { readonly query: Query; readonly statements: Statements },
): Promise<KilledConsumer> {
  await member.kill()
  const killedAt = await statements.serverTime(query)
  // The statements that it had sent are carried out all the same: an ack still counts, and so does a claim.
  await delay(150)
  const messages = await statements.peek(query, queue, 1_000_000)
  const held = messages
    .filter(({ leasedBy }) => leasedBy === member.name)
    .map(({ id, attempt, readyAt }) => ({ id, attempt, leaseEndsAt: readyAt }))
  return { name: member.name, pid: member.pid, killedAt, held }
}

/** Finds the redelivery of each held message, in the order in which the leases ended. */
export function redeliveriesOf({ held, killedAt }: KilledConsumer, claims: readonly ClaimedRecord[]): Redelivery[] {
  const killedMicros = parseInstant(killedAt)
  return held
    .map(({ id, attempt, leaseEndsAt }) => {
      const endMicros = parseInstant(leaseEndsAt)
      const claim = claims.find((one) => one.id === id && one.attempt === attempt + 1)
      return {
        id,
        leaseEndedAfterKillMs: (endMicros - killedMicros) / 1000,
        redeliveredAfterMs: claim ? (parseInstant(claim.dueAt) - endMicros) / 1000 + claim.latenessMs : null,
        attempt: claim?.attempt ?? null,
        by: claim?.consumer ?? null,
      }
    })
    .sort((a, b) => a.leaseEndedAfterKillMs - b.leaseEndedAfterKillMs)
}
