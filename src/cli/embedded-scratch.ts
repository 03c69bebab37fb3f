/**
 * The directory of one embedded server, and the removal of those whose owner died.
 *
 * Invariant: the name of a directory says which process owns it, from its very creation:
 *
 *     dueq-pg-<pid>-<start time of that pid>-<random>
 *
 * so that a SIGKILL at any point leaves something that the next start recognises. Only directories of this user are
 * looked at: in a shared temporary directory anybody could plant a name, and with it a process id to be stopped.
 */
import { mkdtempSync, readdirSync, readFileSync, statSync } from 'node:fs'
import { chmod, lstat, rm } from 'node:fs/promises'
import { join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import { currentUid } from './embedded-user.js'

const prefix = 'dueq-pg-'
const orphanStopMs = 5_000

/** Creates a directory owned by this process, which other users may pass through but not list. */
export async function createScratch(base: string): Promise<string> {
  const scratch = mkdtempSync(join(base, `${prefix}${process.pid}-${startTicks(process.pid) ?? 0}-`))
  await chmod(scratch, 0o711)
  return scratch
}

/** Removes a scratch directory; backends of a killed postmaster may still be writing for a moment. */
export async function removeScratch(scratch: string): Promise<void> {
  await rm(scratch, { recursive: true, force: true, maxRetries: 20, retryDelay: 100 })
}

/** Stops the servers and removes the directories of dead owners. Never fails: what resists is left for the next time. */
export async function sweepOrphans(base: string): Promise<void> {
  for (const name of readdirSync(base).filter((entry) => entry.startsWith(prefix))) {
    try {
      const scratch = join(base, name)
      if (!(await isAbandoned(name, scratch))) continue
      await stopOrphan(join(scratch, 'data'))
      await removeScratch(scratch)
    } catch {
      // Another process may be sweeping the same directory.
    }
  }
}

async function isAbandoned(name: string, scratch: string): Promise<boolean> {
  const [pid, ticks] = name.slice(prefix.length).split('-').map(Number)
  if (!pid || ticks === undefined || Number.isNaN(ticks)) return false
  const found = await lstat(scratch)
  if (!found.isDirectory() || found.uid !== currentUid()) return false
  return ticks > 0 ? startTicks(pid) !== ticks : !isRunning(pid)
}

async function stopOrphan(dataDirectory: string): Promise<void> {
  const pid = postmasterOf(dataDirectory)
  if (pid === undefined) return
  // Immediate shutdown: the data is thrown away, but unlike SIGKILL it gives the shared memory back.
  process.kill(pid, 'SIGQUIT')
  const deadline = Date.now() + orphanStopMs
  while (postmasterOf(dataDirectory) === pid && Date.now() < deadline) await delay(20)
  if (postmasterOf(dataDirectory) === pid) process.kill(pid, 'SIGKILL')
}

/** The postmaster's pid, only if that process really is a server of this data directory (pids are used again). */
function postmasterOf(dataDirectory: string): number | undefined {
  try {
    const pid = Number(readFileSync(join(dataDirectory, 'postmaster.pid'), 'utf8').split('\n', 1)[0])
    if (!Number.isInteger(pid) || pid <= 1 || !isRunning(pid)) return undefined
    if (process.platform !== 'linux') return pid
    const command = readFileSync(`/proc/${pid}/cmdline`, 'utf8').split('\0')
    const isOurs = statSync(`/proc/${pid}`).uid === statSync(dataDirectory).uid
    return isOurs && command[0]?.endsWith('postgres') && command.includes(dataDirectory) ? pid : undefined
  } catch {
    return undefined
  }
}

function isRunning(pid: number): boolean {
  try {
    process.kill(pid, 0)
    return true
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === 'EPERM'
  }
}

/** When the process started, in clock ticks since boot; `undefined` when it is dead (a zombie is) or there is no /proc. */
function startTicks(pid: number): number | undefined {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, 'utf8')
    // The second field is the command in parentheses and may itself hold spaces and parentheses.
    const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ')
    return fields[0] === 'Z' || fields[0] === 'X' ? undefined : Number(fields[19])
  } catch {
    return undefined
  }
}
