import { afterAll, expect, test } from 'vitest'
import { freshSchema } from '../support/database.js'
import { dueqOn } from './dueq.js'

const empty = await freshSchema({ migrate: false })
const dueq = dueqOn(empty)
afterAll(() => empty.close())

test('`migrate` says what is missing, brings it, and has nothing to do the second time', async () => {
  const before = await dueq('migrate', 'status')
  expect(before.code).toBe(5)
  expect(before.stdout).toMatch(/0001_tables +pending/)
  const dry = await dueq('migrate', '--dry-run', '--json')
  expect(dry.code).toBe(0)
  const { pending } = dry.json<{ pending: string[] }>()
  expect(pending[0]).toBe('0001_tables')

  const up = await dueq('migrate', '--json')
  expect(up).toMatchObject({ code: 0, stderr: '' })
  expect(up.json()).toEqual({ schema: empty.schema, applied: pending, newer: [] })
  expect((await dueq('migrate')).stdout).toBe(`Schema "${empty.schema}" is up to date.\n`)

  const after = await dueq('migrate', 'status', '--json')
  expect(after.code).toBe(0)
  expect(after.json()).toEqual({ schema: empty.schema, applied: pending, pending: [], newer: [] })

  await empty.sql`insert into ${empty.sql(empty.schema)}.migrations (name, run_on) values ('9999_later', now())`
  const newer = await dueq('migrate')
  expect(newer.code).toBe(5)
  expect(newer.stderr).toContain('[schema.newer]')
  expect((await dueq('migrate', 'status')).code).toBe(5)
})

test('`migrate --sql` prints the migrations without a database', async () => {
  const { code, stdout } = await dueqOn({ schema: 'elsewhere' })('migrate', '--sql')
  expect(code).toBe(0)
  expect(stdout).toMatch(/^begin;\ncreate schema if not exists "elsewhere";/)
  expect(stdout).toMatch(/commit;\n$/)
})
