import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, expect, test } from 'vitest'
import { freshSchema } from '../support/database.js'
import { dueqOn } from './dueq.js'

const schema = await freshSchema()
const dueq = dueqOn(schema)
const directory = await mkdtemp(join(tmpdir(), 'dueq-test-'))
afterAll(async () => {
  await rm(directory, { recursive: true })
  await schema.close()
})

const message = (n: number): string => JSON.stringify({ payload: { n }, delay: '10m' })
const numbered = (count: number, bad: Readonly<Record<number, string>> = {}): string =>
  Array.from({ length: count }, (_, i) => `${bad[i + 1] ?? message(i + 1)}\n`).join('')
const countOf = async (queue: string): Promise<number> =>
  (await dueq('stats', queue, '--json')).json<{ delayed: number }>().delayed

test('a file with a bad line names the line and where to go on, and going on there leaves none out and none twice', async () => {
  await dueq('queue', 'create', 'file')
  const file = join(directory, 'messages.ndjson')
  await writeFile(file, numbered(2500, { 1503: '{"payload":1,"dely":"10m"}' }))
  const misspelt = await dueq('enqueue', 'file', '--file', file)
  expect(misspelt.code).toBe(2)
  expect(misspelt.stderr).toMatch(/^dueq: Line 1503: Unknown option `dely`.*did you mean `delay`\?/)
  expect(misspelt.stderr).toContain('Lines 1 to 1000 are committed; go on with --from-line 1001. [line.invalid]')
  expect(await countOf('file')).toBe(1000)

  await writeFile(file, numbered(2500, { 2222: 'oops' }))
  const broken = await dueq('enqueue', 'file', '--file', file, '--from-line', '1001', '--json')
  expect(broken.code).toBe(2)
  expect(broken.json()).toMatchObject({ error: { code: 'line.invalid', committedLines: 2000, fromLine: 2001 } })

  await writeFile(file, numbered(2500))
  const rest = await dueq('enqueue', 'file', '--file', file, '--from-line', '2001', '--json')
  expect(rest.json()).toEqual({ lines: 2500, enqueued: 500, duplicates: 0 })
  const [row] = await schema.sql<{ lines: number }[]>`
    select count(distinct payload ->> 'n')::integer as lines from ${schema.sql(schema.schema)}.messages`
  expect([await countOf('file'), row?.lines]).toEqual([2500, 2500])
})

test('stdin is a file too; empty lines and the byte order mark do not count as messages', async () => {
  await dueq('queue', 'create', 'stdin')
  const fed = await dueq.fed(`\uFEFF${message(1)}\r\n\r\n${message(2)}`, 'enqueue', 'stdin', '--file', '-')
  expect(fed).toMatchObject({ code: 0, stdout: '2 messages enqueued from 3 lines.\n', stderr: '' })

  const keyed = '{"payload":1,"dedupKey":"k"}\n{"payload":2,"dedupKey":"k"}\n'
  expect((await dueq.fed(keyed, 'enqueue', 'stdin', '--file', '-', '--json')).json()).toMatchObject({ duplicates: 1 })

  const bad = await dueq.fed('{"delay":"1s"}\n', 'enqueue', 'stdin', '--file', '-')
  expect(bad.stderr).toBe(
    'dueq: Line 1 is not an object with a payload: { "payload": … }. No line is committed. [line.invalid]\n',
  )
})

test('what cannot be read, and a queue that does not exist, are told as such', async () => {
  const missing = await dueq('enqueue', 'file', '--file', join(directory, 'missing'))
  expect(missing.code).toBe(2)
  expect(missing.stderr).toContain('[file.unreadable]')
  const unknown = await dueq.fed(numbered(3), 'enqueue', 'unknown', '--file', '-')
  expect(unknown.code).toBe(3)
  expect(unknown.stderr).toContain('[queue.unknown]')
})

test('a slow pipe is enqueued as it comes, not when it ends', async () => {
  await dueq('queue', 'create', 'slow')
  const child = spawn(process.execPath, ['dist/esm/cli/main.js', 'enqueue', 'slow', '--file', '-'], {
    env: { ...process.env, DUEQ_DATABASE_URL: schema.url, DUEQ_SCHEMA: schema.schema },
    stdio: ['pipe', 'ignore', 'inherit'],
  })
  child.stdin.write(`${message(1)}\n`)
  await expect.poll(() => countOf('slow'), { timeout: 10_000 }).toBe(1)
  child.stdin.write(`${message(2)}\n${message(3)}\n`)
  await expect.poll(() => countOf('slow'), { timeout: 10_000 }).toBe(3)
  child.stdin.end()
  expect(await once(child, 'exit')).toEqual([0, null])
})
