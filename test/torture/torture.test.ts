// A short torture as part of the tests: few seconds, most faults. What it finds at length is for `npm run torture`.
import { existsSync } from 'node:fs'
import { setTimeout as delay } from 'node:timers/promises'
import postgres from 'postgres'
import { afterAll, describe, expect, inject, it } from 'vitest'
import type { TortureSummary } from '../../src/cli/torture/report.js'
import { dueqOn } from '../cli/dueq.js'
import { freshSchema } from '../support/database.js'
import { killAll } from '../support/processes.js'

const host = await freshSchema()
const dueq = dueqOn(host)
const url = inject('databaseUrl')
const sql = postgres(url, { max: 2, onnotice: () => {} })

afterAll(async () => {
  killAll()
  await sql.end()
  await host.close()
})

const leftBehind = async (): Promise<string[]> => {
  const rows = await sql`
    select nspname::text as name from pg_namespace where starts_with(nspname, 'dueq_torture_')
     union all select queue from ${sql(host.schema)}.queue_settings where starts_with(queue, 'dueq_torture_')`
  return rows.map((row) => row['name'] as string)
}

describe('dueq torture', () => {
  it('promises 1 to 8: keeps all of them while everything that can break breaks, and cleans up', async () => {
    const size = ['--for', '12s', '--rate', '300', '--consumers', '2', '--seed', '5']
    const { code, stdout, stderr } = await dueq('torture', ...size, '--url', url, '--json')
    const summary = JSON.parse(stdout) as TortureSummary
    expect({ stderr, stories: summary.stories, failures: summary.failures }).toEqual({
      ...{ stderr: '', stories: [], failures: [] },
    })
    expect({ code, ok: summary.ok, left: summary.messages.left }).toEqual({ code: 0, ok: true, left: 0 })
    expect(Object.values(summary.rules).every((count) => count === 0)).toBe(true)
    expect(summary.messages.delivered).toBeGreaterThan(300)
    expect(summary.duplicates.count).toBe(summary.duplicates.explained)
    expect(summary.duplicates.lapsed).toBeGreaterThan(0)
    expect(summary.faults.filter(({ count }) => count > 0).length).toBeGreaterThan(8)
    // A server that is not of the run is not killed.
    expect(summary.notAvailable.map(({ name }) => name)).toContain('kill server')
    expect(await leftBehind()).toEqual([])
    expect(existsSync(summary.journals)).toBe(false)
  }, 120_000)

  it('ends early after Ctrl-C, in a scratch queue beside the queues of the schema, and judges what there was', async () => {
    await dueq('queue', 'create', 'mail')
    await dueq('enqueue', 'mail', '1')
    const options = ['--for', '10m', '--rate', '200', '--consumers', '1', '--producers', '1', '--faults', 'slow,cut']
    const run = dueq.start('torture', ...options, '--schema', host.schema, '--url', url)
    while (!run.stderr.includes('enqueued')) await delay(50)
    await delay(2000)
    process.kill(run.pid, 'SIGINT')
    const { code } = await run.exited
    expect(run.lines.join('\n')).toMatch(/✔ lost +0/)
    expect({ code, left: await leftBehind() }).toEqual({ code: 130, left: [] })
    const rows = await sql`select queue, ready::text from ${sql(host.schema)}.queue_stats`
    expect([...rows]).toEqual([{ queue: 'mail', ready: '1' }])
  }, 60_000)

  it.each([
    ['--faults', 'cutt'],
    ['--for', '10'],
    ['--seed', '-1'],
    ['--embedded', '--url', url],
  ])('refuses %s %s', async (...options) => {
    expect(await dueq('torture', ...options)).toMatchObject({ code: 2, stdout: '' })
  })
})
