// What the doctor says of other sessions, and that it says so where the calling role may not see them.
import { afterAll, beforeAll, expect, it } from 'vitest'
import { type Engine, type EngineSession, startEngine } from '../sql/engine.js'

let engine: Engine
let role: string
beforeAll(async () => {
  engine = await startEngine()
  role = `${engine.schema}_plain`
  await engine.rows(`create role ${role};
    grant usage on schema ${engine.schema} to ${role};
    grant execute on all functions in schema ${engine.schema} to ${role};
    grant select on all tables in schema ${engine.schema} to ${role}`)
})
afterAll(async () => {
  await engine.rows(`drop owned by ${role}; drop role ${role}`)
  await engine.close()
})

type Check = { readonly ok: boolean; readonly detail: string; readonly advice: string | null }

async function check(name: string, session: EngineSession = engine): Promise<Check> {
  const [row] = await session.rows<Check>('select ok, detail, advice from dueq.doctor() where "check" = $1', [name])
  return row!
}

it('a snapshot that a transaction has held for more than a minute: its pid, application and age', async () => {
  await using holder = await engine.session()
  await holder.begin('repeatable read')
  await holder.rows('select 1')
  const mine = `pid ${holder.pid} (dueq test, idle in transaction, user `
  expect((await check('held snapshots')).detail).not.toContain(mine)
  await engine.travel('12 minutes')
  const held = await check('held snapshots')
  expect(held).toMatchObject({ ok: false, advice: expect.stringContaining('End them') })
  expect(held.detail).toMatch(
    new RegExp(`pid ${holder.pid} \\(dueq test, .*\\) for 00:1[12]:\\d\\d, \\d+ transactions`),
  )
  await holder.rollback()
  expect((await check('held snapshots')).detail).not.toContain(mine)
  await engine.travel('-12 minutes')
})

it('a role that may not see the age of a snapshot says so, and whom to grant what', async () => {
  await using holder = await engine.session()
  await using plain = await engine.session()
  await plain.rows(`set role ${role}`)
  await holder.begin('repeatable read')
  await holder.rows('select 1')
  expect(await check('held snapshots', plain)).toMatchObject({
    ok: false,
    detail: expect.stringContaining(`pid ${holder.pid} (dueq test, user `),
    advice: expect.stringContaining(`Grant pg_read_all_stats to ${role}`),
  })
  expect((await check('held snapshots', plain)).detail).toContain(`since when is not visible to role ${role}`)
  await holder.rollback()
  const { detail } = await check('held snapshots', plain)
  expect(detail).not.toContain(`pid ${holder.pid} `)
  expect(detail).toContain(`not visible to role ${role}`)
  await engine.rows(`grant pg_read_all_stats to ${role}`)
  expect((await check('held snapshots', plain)).detail).not.toContain('not visible')
  await engine.rows(`revoke pg_read_all_stats from ${role}`)
})

it('a transaction that has kept messages locked for more than a minute, although it holds no snapshot', async () => {
  const queue = await engine.queue()
  await engine.enqueue(queue)
  await using holder = await engine.session()
  await holder.begin()
  // Without parameters: the portal of a statement with parameters keeps its snapshot until the next statement.
  await holder.rows(`select dueq.ack(id, attempt) from dueq.dequeue('${queue}')`)
  const mine = `pid ${holder.pid} (dueq test, idle in transaction, user `
  expect((await check('message locks')).detail).not.toContain(mine)
  await engine.travel('2 minutes')
  expect(await check('message locks')).toMatchObject({ ok: false, detail: expect.stringContaining(mine) })
  expect((await check('held snapshots')).detail).not.toContain(mine)

  await using plain = await engine.session()
  await plain.rows(`set role ${role}`)
  expect(await check('message locks', plain)).toMatchObject({
    ok: false,
    detail: expect.stringContaining(`pid ${holder.pid} (dueq test, user `),
    advice: expect.stringContaining(`Grant pg_read_all_stats to ${role}`),
  })
  await holder.rollback()
  expect((await check('message locks')).detail).not.toContain(mine)
  await engine.travel('-2 minutes')
})

it('a transaction that only reads messages locks none', async () => {
  await using holder = await engine.session()
  await holder.begin()
  await holder.rows('select count(*) from dueq.messages')
  await engine.travel('2 minutes')
  expect((await check('message locks')).detail).not.toContain(`pid ${holder.pid} `)
  await holder.rollback()
  await engine.travel('-2 minutes')
})

it('a table that somebody locks as a whole is named within a second, and hides no check of sessions', async () => {
  await using holder = await engine.session()
  await holder.begin()
  await holder.rows('lock table dueq.messages in access exclusive mode')
  const rows = await engine.rows<Check & { readonly check: string }>(
    'select "check", ok, detail, advice from dueq.doctor()',
  )
  expect(rows.find((row) => row.check === 'table locks')).toMatchObject({
    ok: false,
    detail: expect.stringMatching(new RegExp(`pid ${holder.pid} \\(dueq test, .* locks .*messages`)),
    advice: expect.stringContaining('pg_terminate_backend'),
  })
  expect(rows.map((row) => row.check)).toContain('held snapshots')
  await holder.rollback()
  expect(await check('table locks')).toMatchObject({ ok: true })
})

it('behind a lock that waits for a reader, both are named', async () => {
  await using reader = await engine.session()
  await using waiting = await engine.session()
  await reader.begin()
  await reader.rows('select count(*) from dueq.messages')
  await waiting.begin()
  const locked = waiting.rows('lock table dueq.messages in access exclusive mode')
  await expect
    .poll(async () => (await check('table locks')).detail, { timeout: 20_000 })
    .toMatch(new RegExp(`pid ${waiting.pid} .* locks .*messages, as soon as pid ${reader.pid} ends`))
  await reader.rollback()
  await locked
  await waiting.rollback()
})
