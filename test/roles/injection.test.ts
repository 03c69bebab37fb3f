// Names, keys, payloads, reasons and names of consumers become no command anywhere: not in SQL, not in the shell of
// `consume --exec`, not at a terminal, not in JSON.
import { mkdtemp, readdir, readFile, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, it } from 'vitest'
import { dueqOn } from '../cli/dueq.js'
import { startClient, type TestClient } from '../client/client.js'

let test: TestClient
beforeAll(async () => {
  test = await startClient()
})
afterAll(() => test.close())

const terminal = '\u001b]0;title\u0007\u001b[2J\u009b31m\u202e\u2066\u200f\u2028\r'
const shell = '$(touch pwned) `touch pwned`; touch pwned & | > pwned \'"\n touch pwned'
const sql = `'; drop schema "SCHEMA" cascade; -- $$ \\'; `

it('what a shell would obey reaches the command of --exec as its input, byte for byte', async () => {
  const directory = await mkdtemp(join(tmpdir(), 'dueq-test-'))
  try {
    const queue = await test.queue()
    await queue.enqueue({ shell, terminal }, { headers: { shell }, dedupKey: shell })
    const { code } = await dueqOn(test)(
      'consume',
      queue.name,
      '--drain',
      '--exec',
      `cd ${directory} && cat > got && env > env`,
    )
    expect(code).toBe(0)
    expect(JSON.parse(await readFile(join(directory, 'got'), 'utf8'))).toEqual({ shell, terminal })
    expect(await readFile(join(directory, 'env'), 'utf8')).not.toContain('pwned')
    expect((await readdir(directory)).sort()).toEqual(['env', 'got'])
  } finally {
    await rm(directory, { recursive: true })
  }
})

it('what a terminal would obey is shown and not sent, whoever wrote it: keys, consumers, reasons, errors, names of roles', async () => {
  const queue = await test.queue({ maxAttempts: 1 })
  const role = `evil ${terminal}`
  await test.sql.unsafe(`create role "${role}"; grant create on schema ${test.schema} to "${role}"`)
  try {
    await queue.enqueue({ [terminal]: terminal }, { headers: { [terminal]: terminal }, dedupKey: terminal })
    const schema = test.sql(test.schema)
    const dead = await queue.enqueue(terminal)
    const [message] = await test.sql`
      select id::text, attempt from ${schema}.dequeue(${queue.name}, 2, consumer => ${terminal}) where id = ${dead.id}`
    await test.sql`select ${schema}.dead_letter(${message!['id']}::bigint, 1, ${`reason ${terminal}`}, ${`error ${terminal}`})`
    const dueq = dueqOn(test)
    for (const args of [
      ['peek', queue.name],
      ['peek', queue.name, '--json'],
      ['dead', 'show', dead.id],
      ['dead', 'list', '--json'],
      ['doctor'],
      ['stats', terminal],
      ['stats', terminal, '--json'],
    ]) {
      const { stdout, stderr } = await dueq(...args)
      expect(stdout + stderr, args.join(' ')).not.toMatch(/[^\P{Cc}\n]|[\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069]/u)
      if (args.includes('--json')) expect(() => JSON.parse(stdout), stdout).not.toThrow()
    }
  } finally {
    await test.sql.unsafe(`drop owned by "${role}"; drop role "${role}"`)
  }
})

it('what SQL would obey is text to it: payloads, headers, keys, reasons, names of queues and of consumers', async () => {
  const text = sql.replace('SCHEMA', test.schema)
  const queue = await test.queue()
  await queue.enqueue(text, { headers: { [text]: text }, dedupKey: text })
  await queue.enqueueMany([{ payload: text, dedupKey: `${text} 2`, headers: { text } }])
  const dueq = test.another({ name: text })
  const messages = await dueq.queue<string>(queue.name).dequeue({ max: 2 })
  expect(messages.map(({ payload }) => payload)).toEqual([text, text])
  await messages[0]!.deadLetter(text.slice(0, 100), text)
  await messages[1]!.nack(text)
  for (const name of [text, `"${text}"`, 'q'.repeat(121)]) expect(() => dueq.queue(name), name).toThrow(/queue|name/)
  expect(() => test.another({ schema: text })).toThrow('Expected `schema`')
  const [{ reason }] = (await test.sql.unsafe(
    `select reason from ${test.schema}.dead_messages where queue = '${queue.name}'`,
  )) as [{ reason: string }]
  expect(reason).toBe(text.slice(0, 100))
})
