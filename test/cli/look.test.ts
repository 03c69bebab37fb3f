import { afterAll, beforeAll, expect, test } from 'vitest'
import { freshSchema } from '../support/database.js'
import { killAll } from '../support/processes.js'
import { variant } from '../support/variant.js'
import { dueqOn } from './dueq.js'

const schema = await freshSchema()
const dueq = dueqOn(schema)
beforeAll(async () => {
  await dueq('queue', 'create', 'mail', '--max-attempts', '1')
  await dueq('enqueue', 'mail', '"later"', '--delay', '1h')
})
afterAll(async () => {
  killAll()
  await schema.close()
})

test('`stats` counts as a table, as JSON, and again and again', async () => {
  expect((await dueq('stats')).stdout).toMatch(/mail +1 +0 +0 +0 +0 +- +\d{4}-/)
  expect((await dueq('stats', '--json')).json<unknown[]>()).toMatchObject([{ queue: 'mail', delayed: 1 }])
  const watching = dueq.start('stats', 'mail', '--watch', '0.1', '--json')
  await expect.poll(() => watching.lines.length, { timeout: 5000 }).toBeGreaterThan(2)
  await watching.kill('SIGINT')
  expect(await watching.exited).toEqual({ code: 0, signal: null })
  expect(watching.lines[0]).toMatchObject({ queue: 'mail', delayed: 1 })
  expect((await dueq('stats', '--watch', 'often')).code).toBe(2)
})

test('`peek` shows messages in the order of delivery', async () => {
  await dueq('queue', 'create', 'peeked')
  await dueq('enqueue', 'peeked', '"second"')
  await dueq('enqueue', 'peeked', '"first"', '--priority', '-1')
  expect((await dueq('peek', 'peeked')).stdout).toMatch(/ready +-1 .* first\n.*ready +0 .* second\n/)
  expect((await dueq('peek', 'peeked', '--max', '1', '--json')).json()).toMatchObject([{ payload: 'first' }])
})

test('`dead` lists, shows, redrives and purges dead letters', async () => {
  await dueq('enqueue', 'mail', '{"n":1}')
  await dueq('enqueue', 'mail', '{"n":2}')
  await dueq('consume', 'mail', '--drain', '--exec', 'echo no >&2; exit 1')
  expect((await dueq('dead', 'list')).stdout).toMatch(/mail +exhausted .* exit code 1: no\n/)
  const letters = (await dueq('dead', 'list', 'mail', '--json')).json<{ id: string }[]>()
  expect(letters).toHaveLength(2)
  const [first, second] = letters.map(({ id }) => id) as [string, string]
  expect((await dueq('dead', 'show', first)).stdout).toMatch(/payload +\{"n":1\}\n/)
  expect((await dueq('dead', 'show', first, '--json')).json()).toMatchObject({ id: first, failures: 1 })
  expect((await dueq('dead', 'show', '99999')).code).toBe(3)

  const partly = await dueq('dead', 'redrive', 'mail', first, '99999')
  expect(partly.code).toBe(3)
  expect(partly.stderr).toContain('no dead letter 99999')
  expect(partly.stdout).toMatch(new RegExp(`${first} +\\d+\n`))
  expect((await dueq('dead', 'redrive', 'mail', first, '--json')).json()).toMatchObject({
    error: { code: 'message.not_found' },
  })

  expect((await dueq('dead', 'purge', 'mail')).stderr).toContain('[confirmation.required]')
  expect((await dueq('dead', 'purge', 'mail', second, '--yes', '--json')).json()).toEqual({ queue: 'mail', purged: 1 })
  expect((await dueq('dead', 'purge', 'mail', '--yes')).stdout).toBe('Deleted 0 dead letters of queue "mail".\n')
  expect((await dueq('dead', 'redrive', 'mail')).stdout).toBe('Queue "mail" has no dead letters.\n')
})

test('`doctor` looks from this host and inside the database, and its exit code is the verdict', async () => {
  const { code, stdout } = await dueq('doctor')
  expect(stdout).toMatch(variant.isSilent ? /FAILS +listen / : /ok +listen +notifications arrive/)
  expect(stdout).toMatch(/ok +clock skew /)
  const report = await dueq('doctor', '--json')
  const { ok, checks } = report.json<{ ok: boolean; checks: { check: string; ok: boolean }[] }>()
  expect(checks.map(({ check }) => check)).toEqual(expect.arrayContaining(['connection', 'listen', 'held snapshots']))
  expect([code === 0, ok]).toEqual([checks.every((check) => check.ok), checks.every((check) => check.ok)])

  await schema.travel('1 hour')
  const skewed = await dueq('doctor')
  await schema.travel('-1 hour')
  expect(skewed.code).toBe(1)
  expect(skewed.stdout).toMatch(
    /FAILS +clock skew +the database is 60 min|FAILS +clock skew +the database is 1 h ahead/,
  )
})
