// A Redis for the systems that need one, where `redis-server` is installed. Its append-only file is written every second, as
// its users run it: a crash loses up to a second, which PostgreSQL here does not.
import { execFileSync, spawn } from 'node:child_process'
import { mkdtempSync, rmSync } from 'node:fs'
import { createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { cpuMsOfFamily } from './processor.mjs'
import { pause } from './time.mjs'

export const redisSettings = '--appendonly yes --appendfsync everysec --save "" --maxmemory-policy noeviction'

/** The version of the installed Redis, or undefined. */
export function redisVersion() {
  try {
    return /v=(\S+)/.exec(execFileSync('redis-server', ['--version'], { encoding: 'utf8' }))?.[1]
  } catch {
    return undefined
  }
}

export async function startRedis() {
  const directory = mkdtempSync(join(tmpdir(), 'dueq-bench-redis-'))
  const port = await freePort()
  const args = ['--port', String(port), '--bind', '127.0.0.1', '--dir', directory, '--appendonly', 'yes']
  const more = ['--appendfsync', 'everysec', '--save', '', '--maxmemory-policy', 'noeviction']
  const child = spawn('redis-server', [...args, ...more], { stdio: 'ignore' })
  const ended = new Promise((resolve) => child.once('exit', resolve))
  /** @param {readonly string[]} words */
  const say = (words) => execFileSync('redis-cli', ['-p', String(port), ...words], { encoding: 'utf8', stdio: 'pipe' })
  for (let attempt = 0; ; attempt++)
    try {
      say(['ping'])
      break
    } catch (error) {
      if (attempt > 100) throw error
      await pause(50)
    }
  return {
    url: `redis://127.0.0.1:${port}`,
    cpuMs: () => cpuMsOfFamily(/** @type {number} */ (child.pid)),
    empty: () => say(['flushall']),
    async stop() {
      child.kill()
      await ended
      rmSync(directory, { recursive: true, force: true })
    },
  }
}

/** @returns {Promise<number>} */
function freePort() {
  return new Promise((resolve, reject) => {
    const probe = createServer()
    probe.once('error', reject)
    probe.listen(0, '127.0.0.1', () => {
      const address = probe.address()
      const port = typeof address === 'object' ? (address?.port ?? 0) : 0
      probe.close(() => resolve(port))
    })
  })
}
