/**
 * Conditions of a whole server, each made on a server of its own: they would disturb other tests, or need settings.
 *
 * Where ages are in transactions or bytes the server's limits are low, or the limit of the check is given, so that no test
 * has to write gigabytes.
 */
import { afterAll, beforeAll, expect, inject, it } from 'vitest'
import { EmbeddedUnavailableError, startEmbedded } from '../../src/cli/embedded.js'
import { connect } from '../../src/index.js'
import { migrate } from '../../src/migrate.js'
import { startOwnServer } from '../support/own-server.js'
import { openSession, type Session } from '../support/sessions.js'
import { startStandby } from './standby.js'

type Server = Awaited<ReturnType<typeof startEmbedded>>
type Check = { readonly check: string; readonly ok: boolean; readonly detail: string; readonly advice: string | null }

const major = inject('serverMajor')
const settings = {
  max_connections: '20',
  max_prepared_transactions: '2',
  wal_level: 'logical',
  max_wal_size: '32MB',
  autovacuum_freeze_max_age: '100000',
}

const server: Server | undefined = await startEmbedded({ settings, major }).catch((error: unknown) => {
  if (error instanceof EmbeddedUnavailableError) return undefined
  throw error
})
const test = it.skipIf(!server)

let session: Session
beforeAll(async () => {
  if (!server) return
  await migrate({ url: server.url, schema: 'dueq' })
  session = await openSession(server.url)
  await session.query(`select dueq.create_queue('healthy')`)
})
afterAll(async () => {
  await session?.close()
  await server?.stop()
})

async function check(name: string, by: Session = session): Promise<Check> {
  const [row] = await by.query<Check>('select "check", ok, detail, advice from dueq.doctor() where "check" = $1', [
    name,
  ])
  return row!
}

/** Calls an internal check with a limit of its own. */
async function checkWith(call: string, name: string): Promise<Check> {
  await session.query('set search_path = dueq, pg_temp')
  const [row] = await session.query<Check>(`select "check", ok, detail, advice from ${call} where "check" = $1`, [name])
  await session.query('reset search_path')
  return row!
}

test('on a healthy database every check passes, with a consumer at work and without', async () => {
  const dueq = connect({ url: server!.url })
  try {
    const failing = async () => (await dueq.doctor()).filter(({ ok }) => !ok)
    expect(await failing()).toEqual([])
    const handled = new Promise<void>((resolve) => {
      dueq.queue('healthy').consume(async () => resolve())
    })
    await dueq.queue('healthy').enqueueMany([{ payload: 1 }, { payload: 2, delay: '1h' }])
    await handled
    expect(await failing()).toEqual([])
  } finally {
    await dueq.close()
  }
})

test('a transaction prepared more than a minute ago', async () => {
  await session.query(`begin; select dueq.enqueue('healthy', '1', delay => '1 hour'); prepare transaction 'forgotten'`)
  expect(await check('prepared transactions')).toMatchObject({ ok: true })
  await shiftClock('2 minutes')
  expect(await check('prepared transactions')).toMatchObject({
    ok: false,
    detail: expect.stringMatching(/^forgotten: xid \d+ prepared at /),
  })
  await shiftClock('0')
  await session.query(`rollback prepared 'forgotten'`)
})

test('a replication slot that keeps more WAL than max_wal_size', async () => {
  await session.query(`select pg_create_physical_replication_slot('abandoned', true)`)
  expect(await check('replication slots')).toMatchObject({ ok: true })
  for (let segment = 0; segment < 4; segment++) {
    await session.query('select txid_current(), pg_logical_emit_message(false, $1, $1)', ['fill'])
    await session.query('select pg_switch_wal()')
  }
  expect(await check('replication slots')).toMatchObject({
    ok: false,
    detail: expect.stringMatching(/^slot abandoned, inactive \(keeps \d+ MB of WAL\)$/),
  })
  await session.query(`select pg_drop_replication_slot('abandoned')`)
})

test('whether commits wait for a standby, so that a fail-over loses nothing', async () => {
  const durability = async () => (await check('durability')).detail
  expect(await durability()).toBe('fsync is on, synchronous_commit is on')
  await using _standby = await startStandby(server!.url, 'replica')
  expect(await durability()).toMatch(/commits wait for no standby: an unplanned fail-over can lose/)
  await session.query('set synchronous_commit = local')
  try {
    await session.query(`alter system set synchronous_standby_names = 'replica'`)
    await session.query('select pg_reload_conf()')
    await expect
      .poll(() => check('durability'))
      .toMatchObject({ ok: false, detail: expect.stringContaining('is local') })
    await session.query('reset synchronous_commit')
    expect(await durability()).toBe('fsync is on, synchronous_commit is on, commits wait for standbys (replica)')
  } finally {
    await session.query('set synchronous_commit = local')
    await session.query('alter system reset synchronous_standby_names')
    await session.query('select pg_reload_conf()')
    await session.query('reset synchronous_commit')
  }
})

test('a standby whose queries hold back vacuum (hot_standby_feedback)', async () => {
  await using standby = await startStandby(server!.url, 'reporting')
  await standby.holdBack()
  const found = () => checkWith('_check_sessions(max_age => 100)', 'standbys')
  await expect.poll(found, { timeout: 10_000 }).toMatchObject({
    ok: false,
    detail: expect.stringMatching(/^standby reporting \(pid \d+\) by \d+ transactions$/),
  })
  expect(await check('standbys')).toMatchObject({ ok: true })
})

test('rows so old that autovacuum should have frozen them', async () => {
  expect(await check('wraparound')).toMatchObject({ ok: true })
  // A block with an exception clause is a subtransaction, and a transaction id where it writes.
  await session.query('create temp table burnt (n integer)')
  await session.query(`do $$ begin
    for n in 1..160000 loop
      begin insert into burnt values (n); exception when others then raise; end;
    end loop;
  end $$`)
  expect(await check('wraparound')).toMatchObject({
    ok: false,
    detail: expect.stringMatching(
      /^the oldest rows are 1\d{5} transactions and \d+ multixacts old, of at most 2 billion$/,
    ),
  })
  await session.query('drop table burnt')
})

test('connections that are nearly used up', async () => {
  expect(await check('connections')).toMatchObject({ ok: true })
  const many = await Promise.all(Array.from({ length: 15 }, () => openSession(server!.url)))
  expect(await check('connections')).toMatchObject({ ok: false, detail: '16 of 17 connections are in use' })
  await Promise.all(many.map((one) => one.close()))
})

test('autovacuum, or the statistics it goes by, turned off for the whole server', async () => {
  const reloaded = async (setting: string, value: string) => {
    await session.query(`alter system ${value === '' ? 'reset' : 'set'} ${setting}${value && ` = ${value}`}`)
    await session.query('select pg_reload_conf()')
    await expect.poll(async () => (await session.query(`show ${setting}`))[0]![setting]).toBe(value || 'on')
  }
  await reloaded('autovacuum', 'off')
  expect(await check('autovacuum')).toMatchObject({ ok: false, detail: 'autovacuum is off' })
  await reloaded('autovacuum', '')
  await reloaded('track_counts', 'off')
  expect(await check('autovacuum')).toMatchObject({ ok: false, detail: expect.stringMatching(/^track_counts is off/) })
  await reloaded('track_counts', '')
  await reloaded('fsync', 'off')
  expect(await check('durability')).toMatchObject({ ok: false, detail: expect.stringMatching(/^fsync is off/) })
  await reloaded('fsync', '')
})

it('a notification queue that one listening session keeps half full', async (context) => {
  // Before 17 the queue of notifications is 8 GB, whatever the settings.
  await using small = await startOwnServer(context, { since: 17, settings: { max_notify_queue_pages: '64' } })
  await migrate({ url: small.url, schema: 'dueq' })
  await using observer = await openSession(small.url)
  await using listener = await openSession(small.url)
  expect(await check('notifications', observer)).toMatchObject({ ok: true })
  await listener.query('listen noise')
  await listener.begin()
  await listener.query('select 1')
  for (let n = 0; n < 40; n++) await observer.query(`select pg_notify('noise', repeat('x', 7000) || $1)`, [String(n)])
  expect(await check('notifications', observer)).toMatchObject({
    ok: false,
    detail: expect.stringMatching(/^the notification queue is [5-9]\d\.\d% full$/),
  })
})

async function shiftClock(interval: string): Promise<void> {
  await session.query(`create or replace function dueq.clock() returns timestamptz language sql volatile parallel safe
    as $$ select pg_catalog.clock_timestamp()${interval === '0' ? '' : ` + interval '${interval}'`} $$`)
}
