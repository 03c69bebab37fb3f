// docs/operations.md tells the truth: its table lists the checks that the doctor makes, and its queries run.
import { readFileSync } from 'node:fs'
import { afterAll, beforeAll, expect, it } from 'vitest'
import { startClient, type TestClient } from '../client/client.js'

const page = readFileSync(new URL('../../docs/operations.md', import.meta.url), 'utf8')
const chapter = (name: string) => page.slice(page.indexOf(`\n## ${name}\n`)).split(/^## /m)[1] ?? ''

let test: TestClient
beforeAll(async () => {
  test = await startClient()
})
afterAll(() => test.close())

it('the table of checks lists those of the doctor, in their order', async () => {
  const listed = [...chapter('doctor').matchAll(/^\| ([a-z ]+) \|/gm)].map(([, name]) => name)
  expect(listed).toEqual((await test.dueq.doctor()).map(({ check }) => check))
})

it('a symptom of the runbook names checks that there are', async () => {
  const known = new Set((await test.dueq.doctor()).map(({ check }) => check))
  const table = chapter('At 3 a.m.').match(/^\| \*\*.*$/gm) ?? []
  expect(table).toHaveLength(9)
  // A name of two words in backticks is that of a check, other than an SQL command.
  const named = table.flatMap((row) => [...row.matchAll(/`([a-z]+ [a-z]+)`/g)].map(([, name]) => name!))
  expect(named.length).toBeGreaterThan(8)
  expect(named.filter((name) => !known.has(name) && name !== 'vacuum full')).toEqual([])
})

it('every query of the page runs', async () => {
  const blocks = [...page.matchAll(/^```sql\n(.*?)^```/gms)].map(([, text]) => text!)
  const queries = blocks
    .flatMap((text) => text.replace(/--.*$/gm, '').split(/;\s*$/m))
    .map((text) => text.trim())
    .filter((text) => text.startsWith('select'))
  expect(queries.length).toBeGreaterThan(10)
  for (const name of ['mail', 'old']) await test.sql.unsafe(`select ${test.schema}.create_queue(queue => '${name}')`)
  for (const query of queries) {
    const run = test.sql.unsafe(query.replace(/\bdueq\./g, `${test.schema}.`))
    await expect(run, query).resolves.toBeDefined()
  }
})
