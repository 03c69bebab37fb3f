// Which of the chosen systems can run here. Peers are installed at their first use, into bench/ and nowhere else.
import { execFileSync } from 'node:child_process'
import { existsSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { nodeFor } from './node.mjs'
import { redisVersion } from './redis.mjs'
import { loadSystem } from './systems.mjs'

const directory = fileURLToPath(new URL('..', import.meta.url))
/** These need nothing beyond what dueq itself has. */
const selfContained = /^(dueq|floor|pgmq-like)/

/** @param {readonly string[]} names */
export async function installPeers(names) {
  if (names.every((name) => selfContained.test(name)) || existsSync(`${directory}/node_modules`)) return
  console.log('Installing the peers into bench/ …')
  const npm = process.platform === 'win32' ? 'npm.cmd' : 'npm'
  execFileSync(npm, ['ci', '--no-audit', '--no-fund'], { cwd: directory, stdio: 'inherit' })
}

/**
 * The systems, and the reasons for which others are left out.
 * @param {readonly string[]} names
 */
export async function loadChosen(names) {
  /** @type {import('../contract.js').System[]} */
  const systems = []
  /** @type {{ name: string, reason: string }[]} */
  const leftOut = []
  for (const name of names) {
    try {
      const system = await loadSystem(name)
      nodeFor(system.minNode)
      if (system.needs === 'redis' && redisVersion() === undefined) throw new Error('no redis-server is installed.')
      systems.push(system)
    } catch (error) {
      leftOut.push({ name, reason: /** @type {Error} */ (error).message })
    }
  }
  return { systems, leftOut }
}
