/**
 * What a fault is: something with a beginning and an end that happens to one process of the run or to its server, and
 * that can be seen to have happened.
 */

import type { Query } from '../../driver.js'
import type { EmbeddedServer } from '../embedded.js'
import type { PgBouncer } from '../pgbouncer.js'
import type { PlannedKind } from './plan.js'
import type { Slot } from './slots.js'

/** What faults can reach. */
export type Stage = {
  /** The server, past all faults. */
  readonly url: string
  readonly query: Query
  readonly embedded: EmbeddedServer | undefined
  readonly leaseMs: number
  /** The pooler of the run, started when it is first wanted. */
  pooler(): Promise<PgBouncer>
}

export type FaultKind = PlannedKind & {
  /** What it does, in a line. */
  readonly says: string
  /** What is counted as its effect: a fault without one has not happened. */
  readonly effect: string
  /** Why it cannot be had here. */
  readonly missing?: (context: FaultContext) => string | undefined
  /** Begins it, and gives the way to end it, which answers its effect. */
  readonly begin: (stage: Stage, slot: Slot) => Promise<() => Promise<number>>
}

/** What decides which faults can be had. */
export type FaultContext = {
  readonly isEmbedded: boolean
  /** Why no proxy can stand between a process and the server, if so. */
  readonly unproxied: string | undefined
  /** Why no pooler can, if so. */
  readonly unpooled: string | undefined
}
