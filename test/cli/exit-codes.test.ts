import { afterAll, beforeAll, expect, test } from 'vitest'
import { freshSchema } from '../support/database.js'
import { dueqOn } from './dueq.js'

const schema = await freshSchema()
const dueq = dueqOn(schema)
beforeAll(() => dueq('queue', 'create', 'mail'))
afterAll(() => schema.close())

/** The message that a consumer holds. */
async function leasedId(): Promise<string> {
  await dueq('enqueue', 'mail', '1')
  const [row] = await schema.sql<{ id: string }[]>`
    select id::text from ${schema.sql(schema.schema)}.dequeue(queue => 'mail', max => 1, consumer => 'c')`
  return row!.id
}

test('exit code 0: help and version, on stdout', async () => {
  const help = await dueq('--help')
  expect(help).toMatchObject({ code: 0, stderr: '' })
  expect(help.stdout).toContain('Exit codes:')
  expect((await dueq('--version')).stdout).toMatch(/^\d+\.\d+\.\d+/)
})

test('exit code 1: refused', async () => {
  const { code, stderr } = await dueq('cancel', await leasedId())
  expect([code, stderr]).toEqual([1, expect.stringContaining('[message.leased]')])
})

test('exit code 2: usage and bad input, with the word that was meant', async () => {
  const cases: readonly (readonly [readonly string[], string])[] = [
    [['stat'], "dueq: unknown command 'stat'. Did you mean stats? [usage]\n"],
    [['stats', '--jsno'], "dueq: unknown option '--jsno'. Did you mean --json? [usage]\n"],
    [['enqueue', 'mail', 'text'], '[payload.not_json]'],
    [['enqueue', 'mail', '1', '--delay', '5y'], '[duration.invalid]'],
    [['enqueue', 'mail', '1', '--at', 'tomorrow'], '[instant.invalid]'],
    [['enqueue', 'mail', '1', '--headers', '[]'], '[headers.invalid]'],
    [['enqueue', 'mail', '1', '--file', '-', '--delay', '1s'], '[usage]'],
    [['queue', 'create', 'no spaces'], '[queue.invalid_name]'],
    [['queue', 'create', 'mail', '--lease', '1ms'], '[duration.invalid]'],
    [['consume', 'mail'], "required option '--exec <command>' not specified [usage]"],
    [['peek', 'mail', '--id', 'x'], '[usage]'],
    [['migrate', 'down'], '[usage]'],
  ]
  for (const [args, text] of cases) {
    const { code, stdout, stderr } = await dueq(...args)
    expect([args, code, stdout]).toEqual([args, 2, ''])
    expect(stderr).toContain(text)
  }
  const asJson = await dueq('stats', '--nonsense', '--json')
  expect(asJson.json()).toEqual({ error: { code: 'usage', message: "unknown option '--nonsense'" } })
  expect((await dueq()).code).toBe(2)
})

test('exit code 3: no such queue or message', async () => {
  for (const args of [
    ['enqueue', 'nope', '1'],
    ['stats', 'nope'],
    ['peek', 'nope'],
    ['queue', 'pause', 'nope'],
    ['consume', 'nope', '--exec', 'true'],
  ]) {
    const { code, stderr } = await dueq(...args)
    expect([args, code]).toEqual([args, 3])
    expect(stderr).toContain('[queue.unknown]')
  }
})

test('exit code 4: no connection; and the password is not shown', async () => {
  const wrong = new URL(schema.url)
  wrong.pathname = '/nowhere'
  const unknown = await dueqOn({ url: wrong.href })('stats', '--json')
  expect(unknown.code).toBe(4)
  expect(unknown.json()).toMatchObject({ error: { code: 'database.not_found' } })

  for (const command of ['stats', 'migrate', 'doctor']) {
    const refused = await dueqOn({})(command, '--url', 'postgres://user:geheim@127.0.0.1:1/db')
    expect([command, refused.code]).toEqual([command, 4])
    expect(refused.stderr).toContain('[database.unreachable]')
    expect(refused.stderr).not.toContain('geheim')
  }
  const noUrl = await dueqOn({ url: 'user:geheim@host' })('stats')
  expect([noUrl.code, noUrl.stderr]).toEqual([2, expect.stringContaining('[connection.invalid]')])
  expect(noUrl.stderr).not.toContain('geheim')
})

test('exit code 5: no schema of dueq', async () => {
  const { code, stderr } = await dueqOn({ url: schema.url, schema: 'missing_schema' })('stats')
  expect([code, stderr]).toEqual([5, expect.stringContaining('[schema.missing]')])
})
