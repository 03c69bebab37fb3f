/**
 * Faults of processes: killed, stopped, given a clock that is wrong.
 */
import { setTimeout as delay } from 'node:timers/promises'
import { type JournalRecord, readJournals } from '../journal.js'
import type { FaultKind } from './fault.js'
import type { Slot } from './slots.js'

const hourMs = 3_600_000
/** How long a process that goes on takes to find out what it has lost. */
const findOutMs = 700

export const processFaults: readonly FaultKind[] = [
  {
    name: 'kill consumer',
    says: 'kill -9 of a consumer, started again after a while',
    whom: 'consumer',
    lastsMs: [300, 1500],
    effect: 'messages in hand',
    begin: (_, slot) => killed(slot, 'claimed', 'settled'),
  },
  {
    name: 'kill producer',
    says: 'kill -9 of a producer, whose enqueues under way have an unknown outcome',
    whom: 'producer',
    lastsMs: [300, 1500],
    effect: 'outcomes unknown',
    begin: (_, slot) => killed(slot, 'enqueued', 'enqueued'),
  },
  {
    name: 'stop',
    says: 'SIGSTOP of a consumer, SIGCONT after the end of its leases',
    whom: 'consumer',
    lastsMs: [2500, 4000],
    effect: 'leases lost',
    begin: async (_, slot) => {
      const before = slot.counts
      slot.signal('SIGSTOP')
      return async () => {
        slot.signal('SIGCONT')
        await delay(findOutMs)
        const { leasesLost, refused } = slot.counts
        return leasesLost - before.leasesLost + refused - before.refused
      }
    },
  },
  wrongClock('clock ahead', 'the clock of a process an hour ahead', hourMs),
  wrongClock('clock behind', 'the clock of a process an hour behind', -hourMs),
]

// --- internal ---

/** The effect: what the process had begun, by its journal, and did not live to end. */
async function killed(slot: Slot, begun: JournalRecord['type'], ended: JournalRecord['type']) {
  await slot.kill()
  const open = new Set<string>()
  for await (const record of readJournals(slot.journals.slice(-1))) {
    if (record.type === 'noted' || record.type === 'settling' || record.type === 'extended') continue
    const key = record.type === 'enqueued' ? record.ref : `${record.id} ${record.attempt}`
    if (record.type === begun && (record.type !== 'enqueued' || record.outcome === 'unknown')) open.add(key)
    else if (record.type === ended) open.delete(key)
  }
  return async () => {
    await slot.start()
    return open.size
  }
}

function wrongClock(name: string, says: string, shiftMs: number): FaultKind {
  return {
    name,
    says,
    whom: 'any',
    lastsMs: [2000, 5000],
    effect: 'hours off',
    begin: async (_, slot) => {
      slot.send({ type: 'clock', shiftMs })
      return async () => {
        const hours = Math.round(Math.abs(slot.clockOffMs) / hourMs)
        slot.send({ type: 'clock', shiftMs: 0 })
        return hours
      }
    },
  }
}
