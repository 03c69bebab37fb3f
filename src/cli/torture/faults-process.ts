/**
 * Faults of processes: killed, stopped, given a clock that is wrong.
 */
import { type ChildProcess, spawn } from 'node:child_process'
import { setTimeout as delay } from 'node:timers/promises'
import type { FaultKind } from './fault.js'
import type { Slot } from './slots.js'

const hourMs = 3_600_000
/** How long a process that goes on may take to find out what it has lost. */
const findOutMs = 2000

export const processFaults: readonly FaultKind[] = [
  {
    name: 'kill consumer',
    says: 'kill -9 of a consumer, started again after a while',
    whom: 'consumer',
    lastsMs: [300, 1500],
    isDeadly: true,
    effect: 'messages in hand',
    begin: (_, slot) => killed(slot),
  },
  {
    name: 'kill producer',
    says: 'kill -9 of a producer, whose enqueues under way have an unknown outcome',
    whom: 'producer',
    lastsMs: [300, 1500],
    isDeadly: true,
    effect: 'calls under way',
    begin: (_, slot) => killed(slot),
  },
  {
    name: 'stop',
    says: 'SIGSTOP of a consumer, SIGCONT after the end of its leases',
    whom: 'consumer',
    lastsMs: [2500, 4000],
    effect: 'leases lost',
    begin: async (_, slot) => {
      const before = slot.counts
      const waker = spawnWaker(slot.pid)
      slot.signal('SIGSTOP')
      return async () => {
        waker?.kill()
        slot.signal('SIGCONT')
        const lost = (): number => slot.counts.leasesLost - before.leasesLost
        for (const until = performance.now() + findOutMs; lost() === 0 && performance.now() < until; ) await delay(100)
        return lost()
      }
    },
  },
  wrongClock('clock ahead', 'the clock of a process an hour ahead', hourMs),
  wrongClock('clock behind', 'the clock of a process an hour behind', -hourMs),
]

// --- internal ---

/** The effect: what it had in hand, as last told; a tenth of a second old. */
async function killed(slot: Slot) {
  const { held } = slot.counts
  await slot.kill()
  return async () => {
    await slot.start()
    return held
  }
}

/** Wakes the process even where this one is killed in between: a stopped process hears nothing of that. */
function spawnWaker(pid: number | undefined): ChildProcess | undefined {
  if (pid === undefined) return undefined
  const waker = spawn('sh', ['-c', 'sleep 15; kill -CONT "$0"', String(pid)], { detached: true, stdio: 'ignore' })
  waker.on('error', () => {}) // no shell: then only a kill of this process leaves something behind
  waker.unref()
  return waker
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
