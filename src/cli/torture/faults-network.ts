/**
 * Faults of the network between one process and the server, and of its LISTEN, which has a way of its own.
 */
import { setTimeout as delay } from 'node:timers/promises'
import type { Which } from '../proxy.js'
import type { FaultContext, FaultKind } from './fault.js'
import type { Slot } from './slots.js'

const missing = ({ unproxied }: FaultContext): string | undefined => unproxied
/** Longer than a statement may take, and than a lease. */
const holeMs = [2400, 4000] as const
const againMs = 400

export const networkFaults: readonly FaultKind[] = [
  {
    name: 'cut',
    says: 'the connections of a process are cut, again and again',
    whom: 'any',
    lastsMs: [500, 2000],
    effect: 'connections cut',
    missing,
    begin: async (_, slot) => repeatedly(() => slot.road!.cut() + slot.ear!.cut()),
  },
  blackHole('black hole', 'nothing passes, and nobody is told', {}),
  blackHole('no answers', 'statements arrive, and their answers do not', { way: 'toClient' }),
  blackHole('no statements', 'statements do not arrive; notifications and old answers do', { way: 'toServer' }),
  {
    name: 'slow',
    says: 'everything takes 150 ms longer, each way',
    whom: 'any',
    lastsMs: [2000, 4000],
    effect: 'packets delayed',
    missing,
    begin: async (_, { road, ear }) => {
      const before = road!.counts.slowed
      for (const way of [road!, ear!]) way.slow(150)
      return async () => {
        for (const way of [road!, ear!]) way.slow(0)
        return road!.counts.slowed - before
      }
    },
  },
  {
    name: 'listen dropped',
    says: 'the listening connection of a consumer is cut, again and again',
    whom: 'consumer',
    lastsMs: [500, 2000],
    effect: 'connections cut',
    missing,
    begin: async (_, slot) => repeatedly(() => slot.ear!.cut()),
  },
  {
    name: 'notifications lost',
    says: 'the listening connection of a consumer brings nothing, and what it held back never comes',
    whom: 'consumer',
    lastsMs: [3000, 5000],
    effect: 'bytes lost',
    missing,
    begin: async (_, { ear }) => {
      const before = ear!.counts.heldBytes
      ear!.freeze({ way: 'toClient' })
      return async () => {
        ear!.cut()
        ear!.thaw()
        return ear!.counts.heldBytes - before
      }
    },
  },
]

// --- internal ---

function blackHole(name: string, says: string, which: Which): FaultKind {
  return {
    name,
    says,
    whom: 'any',
    lastsMs: holeMs,
    effect: 'bytes held back',
    missing,
    begin: async (_, { road, ear }: Slot) => {
      const before = road!.counts.heldBytes
      for (const way of [road!, ear!]) way.freeze(which)
      return async () => {
        for (const way of [road!, ear!]) way.thaw()
        return road!.counts.heldBytes - before
      }
    },
  }
}

/** Does it at once and every 400 ms; the effect is the sum of what it answers. */
function repeatedly(act: () => number | Promise<number>): () => Promise<number> {
  let sum = 0
  let isOver = false
  const repeat = async (): Promise<void> => {
    while (!isOver) {
      sum += await act()
      await delay(againMs)
    }
  }
  const repeating = repeat()
  return async () => {
    isOver = true
    await repeating
    return sum
  }
}
