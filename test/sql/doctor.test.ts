import { afterAll, beforeAll, expect, it } from 'vitest'
import { type Engine, type EngineSession, startEngine } from './engine.js'

let engine: Engine
beforeAll(async () => {
  engine = await startEngine()
})
afterAll(() => engine.close())

type Check = {
  readonly check: string
  readonly ok: boolean
  readonly detail: string
  readonly advice: string | null
}

const checks = (session: EngineSession = engine) =>
  session.rows<Check>('select "check", ok, detail, advice from dueq.doctor()')

async function check(name: string, session?: EngineSession): Promise<Check> {
  const found = (await checks(session)).find((row) => row.check === name)
  if (!found) throw new Error(`doctor has no check "${name}"`)
  return found
}

/** What the check finds while the statements are in force; afterwards they are rolled back. */
async function within(name: string, ...statements: readonly string[]): Promise<Check> {
  await using session = await engine.session()
  await session.begin()
  for (const statement of statements) await session.rows(statement)
  const found = await check(name, session)
  await session.rollback()
  return found
}

it('doctor: every check says what it found, and what to do where something is wrong', async () => {
  for (const row of await checks()) {
    expect(row.ok, row.check).toBeTypeOf('boolean')
    expect(row.detail, row.check).toMatch(/./)
    expect(row.advice === null, row.check).toBe(row.ok)
  }
})

it('doctor: a clock that was replaced for tests is found in a schema that is not for tests', async () => {
  expect(await check('clock')).toMatchObject({ ok: false, detail: expect.stringContaining('clock() was replaced') })
  const own = `create or replace function dueq.clock() returns timestamptz language sql volatile parallel safe
    as $$ select pg_catalog.clock_timestamp() $$`
  expect(await within('clock', own)).toMatchObject({ ok: true })
})

it('doctor: a session that may not write is told so', async () => {
  expect(await check('writable')).toMatchObject({ ok: true })
  expect(await within('writable', 'set local transaction_read_only = on')).toMatchObject({
    ok: false,
    detail: 'transactions of this session are read-only',
  })
})

it('doctor: a default isolation above READ COMMITTED, and lost durability', async () => {
  expect(await within('isolation', `set local default_transaction_isolation = 'repeatable read'`)).toMatchObject({
    ok: false,
    detail: expect.stringContaining('repeatable read'),
  })
  expect(await check('isolation')).toMatchObject({ ok: true })
  expect(await within('durability', 'set local synchronous_commit = off')).toMatchObject({
    ok: false,
    detail: expect.stringContaining('synchronous_commit is off'),
  })
})

it('doctor: timeouts of the role that cut off claims, or the connection that listens', async () => {
  expect(await check('timeouts')).toMatchObject({ ok: true })
  for (const [setting, value] of [
    ['statement_timeout', '4s'],
    ['lock_timeout', '50ms'],
    ['idle_session_timeout', '10min'],
  ])
    expect(await within('timeouts', `set local ${setting} = '${value}'`)).toMatchObject({
      ok: false,
      detail: `${setting} is ${value}`,
    })
  expect(await within('timeouts', `set local statement_timeout = '30s'`)).toMatchObject({ ok: true })
})

it('doctor: autovacuum that is off for messages or their TOAST table, or waits for a fifth of the rows', async () => {
  expect(await check('autovacuum')).toMatchObject({ ok: true })
  const set = (options: string) => within('autovacuum', `alter table dueq.messages ${options}`)
  expect(await set('set (autovacuum_enabled = off)')).toMatchObject({
    ok: false,
    detail: 'autovacuum is off for messages',
  })
  expect(await set('set (toast.autovacuum_enabled = false)')).toMatchObject({
    ok: false,
    detail: expect.stringMatching(/^autovacuum is off for pg_toast_\d+$/),
  })
  expect(await set('set (autovacuum_vacuum_scale_factor = 0.2)')).toMatchObject({
    ok: false,
    detail: 'autovacuum_vacuum_scale_factor of messages is 0.2 instead of 0.02',
  })
  expect(await set('reset (autovacuum_vacuum_scale_factor)')).toMatchObject({
    ok: false,
    detail: expect.stringContaining('not set'),
  })
})

it('doctor: an index of messages that is missing, invalid, or one too many', async () => {
  expect(await check('indexes')).toMatchObject({ ok: true })
  expect(await within('indexes', 'drop index dueq.messages_dedup_idx')).toMatchObject({
    ok: false,
    detail: 'messages_dedup_idx is missing',
  })
  expect(await within('indexes', 'create index extra_idx on dueq.messages (due_at)')).toMatchObject({
    ok: false,
    detail: 'extra_idx is not of dueq',
  })
  await engine.rows(`update pg_index set indisvalid = false where indexrelid = 'dueq.messages_ready_idx'::regclass`)
  try {
    expect(await check('indexes')).toMatchObject({ ok: false, detail: 'messages_ready_idx is invalid' })
    for (const name of ['paused queues', 'late queues', 'orphans']) {
      const blind = await check(name)
      expect(blind).toMatchObject({ ok: false, detail: expect.stringMatching(/^not looked at/) })
      expect(blind.advice).toBe('Make that index again (see indexes), and ask again.')
    }
  } finally {
    await engine.rows(`update pg_index set indisvalid = true where indexrelid = 'dueq.messages_ready_idx'::regclass`)
  }
})

it('doctor: the statements that it advises make the indexes what they were', async () => {
  const definitions = () =>
    engine.rows(
      `select pg_get_indexdef(indexrelid) from pg_index where indrelid = 'dueq.messages'::regclass order by 1`,
    )
  const before = await definitions()
  await engine.rows('drop index dueq.messages_ready_idx, dueq.messages_dedup_idx')
  await engine.rows('alter table dueq.messages drop constraint messages_pkey')
  await engine.rows('create index extra_idx on dueq.messages (due_at)')
  const { detail, advice } = await check('indexes')
  expect(detail.match(/is missing/g)).toHaveLength(3)
  for (const statement of advice!
    .split('As the owner: ')[1]!
    .split(';')
    .filter((text) => text.trim())) {
    await engine.rows(statement)
  }
  expect(await definitions()).toEqual(before)
  expect(await check('indexes')).toMatchObject({ ok: true })
})

it('doctor: a sequence that stands behind the ids in use, as after a fail-over to a logical replica', async () => {
  const queue = await engine.queue()
  const id = await engine.enqueue(queue)
  expect(await check('ids')).toMatchObject({ ok: true })
  const restart = `select setval(pg_get_serial_sequence('dueq.messages', 'id'), 1)`
  const behind = await within('ids', `update dueq.messages set id = ${id} + 10 where id = ${id}`, restart)
  expect(behind).toMatchObject({ ok: false, detail: `the sequence stands at 1, but id ${Number(id) + 10} is in use` })
  await engine.rows(`select setval(pg_get_serial_sequence('dueq.messages', 'id'), greatest(${id}, 1))`)

  await engine.rows(`update dueq.messages set id = 9100000000000000000 where id = ${id}`)
  const last = await within('ids', `select setval(pg_get_serial_sequence('dueq.messages', 'id'), 9100000000000000000)`)
  expect(last).toMatchObject({ ok: false, detail: expect.stringContaining('of at most 9223372036854775807') })
  await engine.rows(`select setval(pg_get_serial_sequence('dueq.messages', 'id'), greatest(${id}, 1))`)
  await engine.rows('select dueq.purge($1)', [queue])
})

it('doctor: more dead rows than live ones by far', async () => {
  const queue = await engine.queue()
  expect(await check('bloat')).toMatchObject({ ok: true })
  await engine.rows('alter table dueq.messages set (autovacuum_enabled = false)')
  await engine.rows(
    `insert into dueq.messages (queue_id, ready_at, due_at, enqueued_at, payload)
     select q.id, dueq.clock(), dueq.clock(), dueq.clock(), '1' from dueq.queues q, generate_series(1, 50100)
      where q.name = $1`,
    [queue],
  )
  await engine.rows('select dueq.purge($1, 100000)', [queue])
  // A session reports its statistics at most once a second, and at its end.
  const found = () => check('bloat')
  await expect
    .poll(found, { timeout: 10_000 })
    .toMatchObject({ ok: false, detail: expect.stringMatching(/ dead rows/) })
  await engine.rows('vacuum dueq.messages')
  await engine.rows('alter table dueq.messages reset (autovacuum_enabled)')
})

it('doctor: messages that nobody will find: their queue was deleted, or their priority is not listed', async () => {
  const queue = await engine.queue()
  await engine.enqueue(queue, 'priority => 7')
  expect(await check('orphans')).toMatchObject({ ok: true })
  const [{ id } = { id: 0 }] = await engine.rows('select id from dueq.queues where name = $1', [queue])
  expect(await within('orphans', `delete from dueq.queues where name = '${queue}'`)).toMatchObject({
    ok: false,
    detail: `messages of queue_id ${id}, which does not exist`,
  })
  expect(await within('orphans', `update dueq.queues set priorities = '{0}' where name = '${queue}'`)).toMatchObject({
    ok: false,
    detail: `messages of ${queue} with priority 7, which its row does not list`,
  })
  await engine.rows('select dueq.purge($1)', [queue])
})
