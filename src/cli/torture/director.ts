/**
 * Carries out the schedule of a run: begins each fault when it is due, ends it, writes both down and counts what it did.
 *
 * Invariant: a fault that has begun is ended, also where the run is over before.
 */
import { setMaxListeners } from 'node:events'
import { setTimeout as delay } from 'node:timers/promises'
import { parseInstant } from '../instant.js'
import type { Journal } from '../journal.js'
import type { FaultSpan } from './account.js'
import type { DatabaseClock } from './clock.js'
import type { FaultKind, Stage } from './fault.js'
import { type PlannedFault, planFaults } from './plan.js'
import type { Slot } from './slots.js'

/** What became of the faults of a kind. */
export type FaultTally = {
  readonly name: string
  readonly says: string
  /** What `sum` counts. */
  readonly effect: string
  count: number
  /** Of these, how many had an effect. */
  effective: number
  sum: number
  /** Those that could not begin. */
  failed: number
}

export type Director = {
  readonly tallies: readonly FaultTally[]
  readonly spans: readonly FaultSpan[]
  /** Those under way, for people. */
  active(): readonly string[]
  /** Ends what is under way, and begins nothing more. */
  end(): Promise<void>
}

/** A fault can fail to begin while another keeps the server away, and means nothing to a process that is not there yet. */
const tries = 12
const tryAgainMs = 400

export function direct(options: {
  readonly seed: number
  readonly forMs: number
  readonly kinds: readonly FaultKind[]
  readonly slots: readonly Slot[]
  readonly stage: Stage
  readonly clock: DatabaseClock
  readonly journal: Journal
}): Director {
  const { seed, forMs, kinds, slots, stage, clock, journal } = options
  const tallies = kinds.map(({ name, says, effect }) => ({
    name,
    says,
    effect,
    count: 0,
    effective: 0,
    sum: 0,
    failed: 0,
  }))
  const spans: FaultSpan[] = []
  const active = new Set<string>()
  const over = new AbortController()
  setMaxListeners(0, over.signal) // every fault of the schedule waits for it
  const names = (of: (slot: Slot) => boolean) => slots.filter(of).map(({ name }) => name)
  const schedule = planFaults({
    ...{ seed, forMs, kinds, spared: names(({ isSpared }) => isSpared) },
    producers: names(({ role }) => role === 'producer'),
    consumers: names(({ role }) => role === 'consumer'),
  })
  const pause = (ms: number): Promise<void> => delay(ms, undefined, { signal: over.signal }).catch(() => {})

  const begin = async (kind: FaultKind, slot: Slot): Promise<(() => Promise<number>) | undefined> => {
    for (let tried = 1; !over.signal.aborted; tried++) {
      try {
        return await kind.begin(stage, slot)
      } catch (error) {
        if (tried < tries) await pause(tryAgainMs)
        else return note(`${kind.name} could not begin: ${error instanceof Error ? error.message : error}`)
      }
    }
    return undefined
  }
  const note = (what: string): undefined => {
    journal.write({ type: 'noted', id: null, what, by: 'torture', at: clock.notBefore() })
  }
  const carryOut = async ({ kind: name, atMs, lastsMs, whom }: PlannedFault): Promise<void> => {
    await pause(atMs)
    if (over.signal.aborted) return
    const kind = kinds.find((one) => one.name === name)!
    const tally = tallies.find((one) => one.name === name)!
    const slot = slots.find((one) => one.name === whom) ?? slots[0]!
    const text = `${name} on ${whom}`
    for (let tried = 0; !slot.isUp && tried < tries && !over.signal.aborted; tried++) await pause(tryAgainMs)
    const fromMicros = parseInstant(clock.notBefore())
    const end = await begin(kind, slot)
    if (!end) return void tally.failed++
    note(`${text} begins`)
    active.add(text)
    await pause(lastsMs)
    const effect = await end().catch((error: unknown) => {
      note(`${text} did not end well: ${error instanceof Error ? error.message : error}`)
      return 0
    })
    active.delete(text)
    note(`${text} ends: ${effect} ${kind.effect}`)
    spans.push({ kind: name, whom, fromMicros, toMicros: parseInstant(clock.notAfter()), effect })
    tally.count++
    tally.sum += effect
    if (effect > 0) tally.effective++
  }
  const performed = Promise.all(schedule.map(carryOut))
  return {
    tallies,
    spans,
    active: () => [...active],
    async end() {
      over.abort()
      await performed
    },
  }
}
