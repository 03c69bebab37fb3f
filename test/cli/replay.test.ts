import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { gzipSync } from 'node:zlib'
import postgres from 'postgres'
import { afterAll, beforeAll, describe, expect, inject, it } from 'vitest'
import { killAll, startProcess, type TestProcess } from '../support/processes.js'

const directory = mkdtempSync(join(tmpdir(), 'dueq-test-replay-'))
const arrivals = 60
const seconds = Array.from({ length: arrivals }, (_, index) => index * 10)
let sql: postgres.Sql

beforeAll(() => {
  sql = postgres(inject('databaseUrl'), { max: 1, onnotice: () => {} })
})
afterAll(async () => {
  killAll()
  rmSync(directory, { recursive: true, force: true })
  await sql.end()
})

describe('dueq replay', () => {
  it.each([
    ['swf.gz', 'ahead', () => gzipSync(seconds.map((s, i) => `${i + 1} ${s} -1 60 ${'-1 '.repeat(14)}`).join('\n'))],
    ['ndjson', 'live', () => seconds.map((s, i) => JSON.stringify({ offset: s * 1000, payload: { i } })).join('\n')],
    ['csv', 'ahead', () => `offset_seconds,name\n${seconds.map((s) => `${s},n${s}`).join('\n')}\n`],
  ])('delivers the arrivals of a file of %s, %s, each once and none early', async (suffix, mode, write) => {
    const replay = start(file(suffix, write()), ['--in', '2s', '--mode', mode, '--consumers', '2'])
    const { code } = await replay.exited
    const expected = { enqueued: arrivals, delivered: arrivals, early: 0, lost: 0, duplicates: 0 }
    expect({ code, lines: replay.lines, stderr: replay.stderr }).toMatchObject({ code: 0, lines: [expected] })
    const { lateness } = replay.lines[0] as { readonly lateness: Readonly<Record<string, number>> }
    expect(Object.keys(lateness)).toEqual(['p50', 'p95', 'p99', 'max'])
    expect(lateness['p50']).toBeGreaterThan(0)
  })

  it('ends with exit code 1 when a message was lost', async () => {
    const lines = seconds.map((s) => JSON.stringify({ offset: s * 1000, wanted: 'lost' })).join('\n')
    const replay = start(file('lost.ndjson', lines), ['--in', '3s', '--consumers', '1', '--keep'])
    const schema = await deleteLast(`{"wanted": "lost"}`)
    expect((await replay.exited).code).toBe(1)
    expect(replay.lines).toMatchObject([
      { enqueued: arrivals, delivered: arrivals - 1, lost: 1, duplicates: 0, schema },
    ])
    await sql`drop schema ${sql(schema)} cascade`
  })

  it('names the line of a file that is not as it should be, with exit code 2', async () => {
    const replay = start(file('bad.ndjson', '{"offset": 1}\n{"offset": "soon"}\n'), ['--in', '1s'])
    expect((await replay.exited).code).toBe(2)
    expect(replay.lines).toMatchObject([{ error: { code: 'line.invalid', message: expect.stringContaining(':2:') } }])
  })
})

// --- internal ---

function file(name: string, content: string | Buffer): string {
  const path = join(directory, `arrivals.${name}`)
  writeFileSync(path, content)
  return path
}

function start(path: string, options: readonly string[]): TestProcess {
  return startProcess('dist/esm/cli/main.js', ['replay', path, ...options, '--json', '--url', inject('databaseUrl')])
}

/** Waits until a replay has enqueued all of these, deletes the last one to fall due, and gives its schema. */
async function deleteLast(payload: string): Promise<string> {
  for (const deadline = Date.now() + 10_000; Date.now() < deadline; ) {
    const found = await sql`select nspname from pg_namespace where nspname like 'dueq\\_replay\\_%'`
    for (const { nspname } of found) {
      const table = sql`${sql(nspname)}.messages`
      const [row] = await sql`
        delete from ${table} where id = (select max(id) from ${table} where payload = ${payload}::text::jsonb
                                          having count(*) = ${arrivals}) returning id`.catch(() => [])
      if (row) return nspname
    }
    await new Promise((resolve) => setTimeout(resolve, 30))
  }
  throw new Error('No replay has enqueued its messages within 10 s')
}
