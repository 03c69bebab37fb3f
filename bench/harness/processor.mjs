// Processor time from /proc, which Linux has; elsewhere NaN, and the columns stay empty.
import { readdirSync, readFileSync } from 'node:fs'

/** Clock ticks of /proc in a second: 100 on every Linux that Node runs on. */
const msPerTick = 10

/**
 * Processor time of a process and its children so far, those that ended included, in ms.
 * @param {number} pid
 */
export function cpuMsOfFamily(pid) {
  const parent = read(pid)
  if (!parent) return Number.NaN
  const children = readdirSync('/proc')
    .filter((name) => /^\d+$/.test(name))
    .map((name) => read(Number(name)))
    .filter((found) => found?.parent === pid)
  const ticks = children.reduce((sum, child) => sum + (child?.own ?? 0), parent.own + parent.ofEnded)
  return ticks * msPerTick
}

/** @param {number} pid */
function read(pid) {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, 'utf8')
    // The second field is the command in parentheses and may itself hold spaces and parentheses.
    const fields = stat
      .slice(stat.lastIndexOf(')') + 2)
      .split(' ')
      .map(Number)
    const [parent = 0, user = 0, system = 0, endedUser = 0, endedSystem = 0] = [1, 11, 12, 13, 14].map((i) => fields[i])
    return { parent, own: user + system, ofEnded: endedUser + endedSystem }
  } catch {
    return undefined // it ended meanwhile
  }
}
