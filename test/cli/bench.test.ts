// Figures are plausible, not fast: the machine of a test is busy with others.
import { readdirSync, readFileSync } from 'node:fs'
import postgres from 'postgres'
import { afterAll, beforeAll, describe, expect, inject, it } from 'vitest'
import type { BenchSummary } from '../../src/cli/bench-report.js'
import { freshSchema } from '../support/database.js'
import { findPgBouncer, missingPgBouncer, startPgBouncer } from '../support/pgbouncer.js'
import { killAll, startProcess } from '../support/processes.js'
import { startRole } from '../support/role.js'
import { dueqOn } from './dueq.js'

const tiny = ['--messages', '200', '--duration', '200ms', '--rounds', '1', '--json']
const host = await freshSchema()
const dueq = dueqOn(host)
const sql = postgres(inject('databaseUrl'), { max: 2, onnotice: () => {} })

beforeAll(async () => {
  await dueq('queue', 'create', 'mail')
  for (const payload of ['1', '2']) await dueq('enqueue', 'mail', payload)
})
afterAll(async () => {
  killAll()
  await sql.end()
  await host.close()
})

describe('dueq bench', () => {
  it('measures all scenarios in a schema of its own, loses nothing, and leaves nothing behind', async () => {
    const options = ['--messages', '300', '--duration', '300ms', '--rounds', '2', '--json']
    const bench = startProcess(main, ['bench', ...options, '--url', inject('databaseUrl')], { DUEQ_SCHEMA: '' })
    const { code } = await bench.exited
    expect({ code, stderr: bench.stderr, lines: bench.lines.length }).toEqual({ code: 0, stderr: '', lines: 1 })
    const { server, figures, counts, baseline } = bench.lines[0] as BenchSummary
    expect(server).toMatchObject({ isScratchSchema: true, isEmbedded: false, isPooled: false })
    expect(server.settings).toMatchObject({ fsync: expect.any(String), shared_buffers: expect.any(String) })
    expect(baseline.commitMs!.median).toBeGreaterThan(0)
    expect(figures.map(({ id }) => id)).toEqual([
      ...['single-1', 'single-32', 'single-256', 'bulk', 'drain-1', 'drain-2'],
      ...['latency-p50', 'latency-p99', 'lateness-p50', 'lateness-p99'],
    ])
    for (const { id, median, min, max, rounds, bare, ratio } of figures) {
      expect([id, rounds.length, rounds.includes(median)]).toEqual([id, 2, true])
      expect(min).toBeGreaterThan(0)
      expect(max).toBeGreaterThanOrEqual(median)
      const isCompared = /^(single|bulk|latency-p50)/.test(id)
      expect([id, bare !== null, ratio !== null]).toEqual([id, isCompared, isCompared])
    }
    // In each round 300 messages are drained twice, and 60 delayed ones are spread over 300 ms.
    expect(counts).toMatchObject({ delivered: counts.enqueued, early: 0, lost: 0, twice: 0 })
    expect(counts.enqueued).toBeGreaterThan(2 * (300 * 2 + 60))
    expect(await schemasOf('public')).toEqual([])
  })

  it('measures in the schema that is there, beside queues that it does not touch', async () => {
    const before = await queues()
    const bench = await dueq('bench', ...tiny, '--scenarios', 'lateness,bulk', '--schema', host.schema)
    expect(bench).toMatchObject({ code: 0, stderr: '' })
    const { server, figures, options } = bench.json<BenchSummary>()
    expect(server).toMatchObject({ schema: host.schema, isScratchSchema: false })
    expect(options.scenarios).toEqual(['bulk', 'lateness'])
    expect(figures.map(({ id }) => id)).toEqual(['bulk', 'lateness-p50', 'lateness-p99'])
    expect(await queues()).toEqual(before)
    expect(before).toMatchObject([{ queue: 'mail', ready: '2' }])
    expect(await schemasOf(host.schema)).toEqual([])
  })

  it('prints a table of at most 80 columns, and no colours where nobody looks', async () => {
    const { stdout, stderr } = await dueq('bench', ...tiny.slice(0, -1), '--scenarios', 'single,drain')
    expect(stdout).toMatch(/^single, 32 callers +[\d,]+\/s +[\d,]+ +[\d,]+ +[\d,]+\/s +[\d.]+× {2}/m)
    expect(stdout).toMatch(/✔ (\d+) of \1 delivered {3}early 0 {3}lost 0/)
    expect(stdout.split('\n').filter((line) => line.length > 80 && !line.startsWith('PostgreSQL'))).toEqual([])
    expect(stdout + stderr).not.toContain('\u001b')
    expect(stderr).toContain('round 1 of 1')
  })

  it('without the right to make a schema it measures without comparison, and says so', async () => {
    await using role = await startRole(host)
    const before = await queues()
    const limited = dueqOn({ url: role.url, schema: host.schema })
    const bench = await limited('bench', ...tiny.slice(0, -1), '--scenarios', 'bulk')
    expect(bench).toMatchObject({ code: 0, stdout: expect.stringContaining('there is nothing to compare with') })
    expect(bench.stdout).toMatch(/^bulk, by 1000 +[\d,]+\/s +[\d,]+ +[\d,]+ {2}/m)
    expect(await queues()).toEqual(before)
  })

  it('recognises a pooler, and goes through it', async (context) => {
    if (!findPgBouncer()) context.skip(missingPgBouncer)
    await using pooler = await startPgBouncer(host.url)
    const pooled = dueqOn({ url: pooler.url, schema: host.schema })
    const bench = await pooled('bench', ...tiny, '--listen-url', host.url)
    expect(bench).toMatchObject({ code: 0, stderr: '' })
    const { server, counts } = bench.json<BenchSummary>()
    expect([server.isPooled, counts.lost, counts.early]).toEqual([true, 0, 0])
    expect(await schemasOf(host.schema)).toEqual([])
  })

  it('cleans up on Ctrl-C, with exit code 130', async () => {
    const before = await queues()
    const bench = dueq.start('bench', '--duration', '5m', '--scenarios', 'single')
    await expect.poll(busyQueues, deadline).not.toEqual([])
    await bench.kill('SIGINT')
    expect([(await bench.exited).code, bench.stderr]).toEqual([130, expect.stringContaining('cleaned up')])
    expect(await queues()).toEqual(before)
    expect(await schemasOf(host.schema)).toEqual([])
  })

  it('killed with -9, its consumer processes clean up at once', async () => {
    const before = await queues()
    const bench = dueq.start('bench', '--rounds', '100', '--scenarios', 'drain')
    await expect.poll(() => childrenOf(bench.pid).length, deadline).toBe(2)
    await expect.poll(heldQueues, deadline).toEqual([expect.stringMatching(/\.drain$/)])
    await bench.kill('SIGKILL')
    await expect.poll(queues, deadline).toEqual(before)
    await expect.poll(() => schemasOf(host.schema), deadline).toEqual([])
  })

  it('removes what a run left behind that was killed with -9, but not what a living one works with', async () => {
    const before = await queues()
    const bench = dueq.start('bench', '--duration', '5m', '--scenarios', 'lateness')
    const [queue] = await expect.poll(busyQueues, deadline).not.toEqual([]).then(busyQueues)
    await dueq('bench', ...tiny, '--scenarios', 'bulk')
    const living = (await queues()).map((row) => row['queue'])
    expect(living).toContain(queue)

    await bench.kill('SIGKILL')
    expect(await schemasOf(host.schema)).toEqual([queue!.split('.')[0]])
    await host.travel('1 minute')
    await dueq('bench', ...tiny, '--scenarios', 'bulk')
    expect(await queues()).toEqual(before)
    expect(await schemasOf(host.schema)).toEqual([])
  })

  it('removes the schema of a run that was killed with -9, where there was no other', async () => {
    const run = (...options: readonly string[]) =>
      startProcess(main, ['bench', ...options, '--url', inject('databaseUrl')], { DUEQ_SCHEMA: '' })
    const bench = run('--duration', '5m', '--scenarios', 'single')
    const [schema] = await expect
      .poll(() => schemasOf('public'), deadline)
      .not.toEqual([])
      .then(() => schemasOf('public'))
    await expect
      .poll(() => sql`select from ${sql(schema!)}.message_states where state = 'leased'`, deadline)
      .not.toEqual([])
    await bench.kill('SIGKILL')
    await sql`update ${sql(schema!)}.messages set ready_at = clock_timestamp() where leased_by is not null`
    expect((await run(...tiny, '--scenarios', 'bulk').exited).code).toBe(0)
    expect(await schemasOf('public')).toEqual([])
  })

  it('refuses what it cannot work with, with the word that was meant', async () => {
    const newer = await freshSchema({ migrate: false })
    await newer.sql.unsafe(
      `create function ${newer.schema}.schema_version() returns integer language sql as 'select 9900'`,
    )
    const cases: readonly (readonly [number, readonly string[], string])[] = [
      [2, ['--scenarios', 'drian'], 'Unknown scenario `drian`, did you mean `drain`? [option.invalid]'],
      [2, ['--scenarios', 'single,'], 'There are single, bulk, drain, latency, lateness. [option.invalid]'],
      [2, ['--rounds', '0'], 'Expected `rounds` to be a whole number from 1 to 100'],
      [2, ['--duration', '1ms'], '[duration.invalid]'],
      [2, ['--messages', '1000000', '--payload-bytes', '100000'], 'Give fewer --messages. [option.invalid]'],
      [2, ['--processes', 'x'], '[usage]'],
      [5, ['--schema', 'missing_schema'], '[schema.missing]'],
      [5, ['--schema', newer.schema], '[schema.newer]'],
      [4, ['--url', 'postgres://user:geheim@127.0.0.1:1/db'], '[database.unreachable]'],
    ]
    for (const [expected, options, text] of cases) {
      const { code, stdout, stderr } = await dueq('bench', ...options)
      expect([options, code, stdout]).toEqual([options, expected, ''])
      expect(stderr).toContain(text)
      expect(stderr).not.toContain('geheim')
    }
    await newer.close()
    const noUrl = await dueqOn({})('bench', '--schema', 'dueq')
    expect([noUrl.code, noUrl.stderr]).toEqual([2, expect.stringContaining('Give --url with --schema. [usage]')])
  })
})

// --- internal ---

const main = 'dist/esm/cli/main.js'
const deadline = { timeout: 15_000, interval: 20 }

function queues() {
  return sql`select queue, ready::text, delayed::text, leased::text from ${sql(host.schema)}.queue_stats order by queue`
}

/** The queues of a run that hold messages. */
async function busyQueues(): Promise<string[]> {
  const rows = await sql`
    select queue from ${sql(host.schema)}.queue_stats where queue like 'dueq\\_bench\\_%.%' and ready + delayed > 0`
  return rows.map((row) => row['queue'])
}

/** The queues of a run with messages that consumers hold. */
async function heldQueues(): Promise<string[]> {
  const rows = await sql`
    select queue from ${sql(host.schema)}.queue_stats where queue like 'dueq\\_bench\\_%.%' and leased > 0`
  return rows.map((row) => row['queue'])
}

/** The schemas of runs whose queues are in this schema; of those that have their own for `public`. */
async function schemasOf(schema: string): Promise<string[]> {
  const rows = await sql`
    select nspname, obj_description(oid, 'pg_namespace') as comment from pg_namespace
     where nspname like 'dueq\\_bench\\_%' order by 1`
  const isOf = (comment: string | null) => (schema === 'public' ? comment === null : comment?.includes(`"${schema}"`))
  return rows.filter((row) => isOf(row['comment'])).map((row) => row['nspname'])
}

function childrenOf(parent: number): number[] {
  return readdirSync('/proc')
    .filter((name) => /^\d+$/.test(name))
    .map(Number)
    .filter((pid) => parentOf(pid) === parent)
}

function parentOf(pid: number): number | undefined {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, 'utf8')
    return Number(stat.slice(stat.lastIndexOf(')') + 2).split(' ')[1])
  } catch {
    return undefined
  }
}
