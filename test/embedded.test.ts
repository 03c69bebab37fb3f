import { chmodSync, existsSync, mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import postgres from 'postgres'
import { afterAll, describe, expect, it, type TestContext, vi } from 'vitest'
import { type EmbeddedServer, startEmbedded } from '../src/cli/embedded.js'
import { startOwnServer } from './support/own-server.js'
import { killAll, startProcess } from './support/processes.js'

const settings = { fsync: 'off' }
const started: EmbeddedServer[] = []

afterAll(async () => {
  killAll()
  await Promise.all(started.map((server) => server.stop()))
})

describe('an embedded server', () => {
  it('runs beside another one, and stop removes its directory', async (test) => {
    const [first, second] = await Promise.all([start(test), start(test)])
    expect(first.port).not.toBe(second.port)
    await Promise.all([first, second].map((server) => query(server.url, 'create table note (body text)')))
    await first.stop()
    expect(existsSync(dirname(first.dataDirectory))).toBe(false)
    expect(isRunning(first.pid)).toBe(false)
    expect(await query(second.url, 'select count(*)::int as count from note')).toEqual([{ count: 0 }])
  })

  it('listens below the ports that systems hand out, and asks for its password', async (test) => {
    const server = await start(test)
    expect(server.port).toBeGreaterThanOrEqual(20_000)
    expect(server.port).toBeLessThan(32_768)
    const wrong = new URL(server.url)
    wrong.password = 'wrong'
    await expect(query(wrong.href, 'select 1')).rejects.toMatchObject({ code: '28P01' })
  })

  it('keeps what was committed through a kill and a restart', async (test) => {
    const server = await start(test)
    await query(server.url, `create table note as select 'kept' as body`)
    const before = server.pid
    await server.kill()
    await expect(query(server.url, 'select 1')).rejects.toThrow()
    await server.restart()
    expect(server.pid).not.toBe(before)
    expect(await query(server.url, 'select body from note')).toEqual([{ body: 'kept' }])
  })

  it('cannot be restarted once it is stopped', async (test) => {
    const server = await start(test)
    await server.stop()
    await expect(server.restart()).rejects.toThrow('was stopped')
  })

  it('says why it did not start', async () => {
    await expect(startEmbedded({ settings: { max_connections: 'many' } })).rejects.toThrow('max_connections')
  })

  it('names the command that installs a missing version', async () => {
    await expect(startEmbedded({ major: 13 })).rejects.toThrow('from 14 to 18')
  })

  it('is removed at the next start when its owner was killed', async (test) => {
    // A directory of its own, because any other start would remove it too.
    const base = mkdtempSync(join(tmpdir(), 'dueq-orphans-'))
    chmodSync(base, 0o755)
    vi.stubEnv('TMPDIR', base)
    try {
      const owner = startProcess('test/support/fixtures/embedded-owner.mjs')
      const orphan = await owner.waitForLine<{ url: string; dataDirectory: string }>(() => true, 30_000)
      await owner.kill('SIGKILL')
      expect(dirname(dirname(orphan.dataDirectory))).toBe(base)
      expect(await query(orphan.url, 'select 1 as alive')).toEqual([{ alive: 1 }])
      const next = await start(test)
      expect(existsSync(dirname(orphan.dataDirectory))).toBe(false)
      await expect(query(orphan.url, 'select 1')).rejects.toThrow()
      expect(await query(next.url, 'select 1 as alive')).toEqual([{ alive: 1 }])
      await next.stop()
    } finally {
      vi.unstubAllEnvs()
      rmSync(base, { recursive: true, force: true })
    }
  })
})

async function start(test: TestContext): Promise<EmbeddedServer> {
  const server = await startOwnServer(test, { settings })
  started.push(server)
  return server
}

async function query(url: string, text: string): Promise<unknown[]> {
  const sql = postgres(url, { max: 1, connect_timeout: 5 })
  try {
    return [...(await sql.unsafe(text))]
  } finally {
    await sql.end({ timeout: 1 })
  }
}

function isRunning(pid: number): boolean {
  try {
    process.kill(pid, 0)
    return true
  } catch {
    return false
  }
}
