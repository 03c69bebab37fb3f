/**
 * The schedule of a run: which fault, when, for how long, on whom. It comes from the seed alone, so the same seed and
 * options make the same schedule. What the processes do to each other in between is theirs, and no seed repeats it.
 *
 * Invariant: no process suffers two faults at once, and the server neither; those of different ones overlap freely.
 */
import { createRandom } from './random.js'

/** What the schedule must know of a kind of fault. */
export type PlannedKind = {
  readonly name: string
  /** Whom it is for: one process of that role, or the server. */
  readonly whom: 'producer' | 'consumer' | 'any' | 'server'
  /** From the shortest to the longest, in ms. */
  readonly lastsMs: readonly [number, number]
  /** Whether the process does not live through it. */
  readonly isDeadly?: boolean
  /** How often it comes, in ms, at most twice a minute. @default 30 s */
  readonly everyMs?: number
}

export type PlannedFault = {
  readonly kind: string
  /** Since the beginning of the run, in ms. */
  readonly atMs: number
  readonly lastsMs: number
  /** `consumer 2`, or `server`. */
  readonly whom: string
}

export type PlanOptions = {
  readonly seed: number
  readonly forMs: number
  readonly kinds: readonly PlannedKind[]
  readonly producers: readonly string[]
  readonly consumers: readonly string[]
  /** Those that suffer everything but what is deadly. @default none */
  readonly spared?: readonly string[]
}

/** So often comes each kind that does not say it: twice a minute, and once in a shorter run if there is room. */
const roundMs = 30_000
/** Before the first fault, so that it meets a load, and after the last, so that its end is in the run. */
const leadMs = 500
/** What a process is left alone after a fault. */
const restMs = 600
/** So often a place for a fault is looked for. In a run of a few seconds there may be none: then it does not come. */
const draws = 300

/** Draws a schedule, in the order of its beginnings. */
export function planFaults({
  seed,
  forMs,
  kinds,
  producers,
  consumers,
  spared = [],
}: PlanOptions): readonly PlannedFault[] {
  const random = createRandom(seed)
  const planned: PlannedFault[] = []
  const rounds = Math.max(1, Math.round(forMs / roundMs))
  const targets = { producer: producers, consumer: consumers, any: [...producers, ...consumers], server: ['server'] }
  for (let round = 0; round < rounds; round++) {
    for (const { name, whom, lastsMs, isDeadly, everyMs = roundMs } of random.shuffled(kinds)) {
      const isTurn = round % Math.max(1, Math.round(everyMs / roundMs)) === 0
      const reached = isDeadly ? targets[whom].filter((target) => !spared.includes(target)) : targets[whom]
      if (!isTurn || reached.length === 0) continue
      // Each round in its part of the run, so that the second of a kind does not come with the first.
      const from = leadMs + (round * (forMs - 2 * leadMs)) / rounds
      const span = (forMs - 2 * leadMs) / rounds
      for (let draw = 0; draw < draws; draw++) {
        const lasts = Math.round(Math.min(random.between(...lastsMs), Math.max(span / 2, 200)))
        const atMs = Math.round(from + random.next() * Math.max(0, span - lasts))
        const fault = { kind: name, atMs, lastsMs: lasts, whom: random.pick(reached) }
        if (planned.some((other) => isInTheWay(other, fault))) continue
        planned.push(fault)
        break
      }
    }
  }
  return planned.sort((a, b) => a.atMs - b.atMs || (a.kind < b.kind ? -1 : 1))
}

// --- internal ---

function isInTheWay(a: PlannedFault, b: PlannedFault): boolean {
  return a.whom === b.whom && a.atMs < b.atMs + b.lastsMs + restMs && b.atMs < a.atMs + a.lastsMs + restMs
}
