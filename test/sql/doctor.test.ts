import { afterAll, beforeAll, expect, it } from 'vitest'
import { type Engine, startEngine } from './engine.js'

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

const checks = () => engine.rows<Check>('select "check", ok, detail, advice from dueq.doctor()')

async function check(name: string): Promise<Check> {
  return (await checks()).find((row) => row.check === name)!
}

it('doctor: every check says what it found, and what to do where something is wrong', async () => {
  const rows = await checks()
  expect(rows.map((row) => row.check)).toEqual([
    'schema',
    'held snapshots',
    'replication slots',
    'prepared transactions',
    'bloat',
    'autovacuum',
    'durability',
    'isolation',
    'notifications',
    'paused queues',
    'late queues',
    'dead letters',
    'orphans',
  ])
  for (const row of rows) {
    expect(row.ok, row.check).toBeTypeOf('boolean')
    expect(row.detail, row.check).toMatch(/./)
    expect(row.advice === null, row.check).toBe(row.ok)
  }
})

it('doctor: a paused queue is reported while messages wait in it', async () => {
  const queue = await engine.queue()
  await engine.rows('select dueq.pause_queue($1)', [queue])
  expect(await check('paused queues')).toMatchObject({ ok: true })
  await engine.enqueue(queue)
  expect(await check('paused queues')).toMatchObject({ ok: false, detail: expect.stringContaining(`${queue} (1 wait`) })
  await engine.rows('select dueq.purge($1)', [queue])
})

it('doctor: a queue is late when a message has been ready for more than a minute', async () => {
  const queue = await engine.queue()
  await engine.enqueue(queue)
  await engine.travel('1 minute')
  expect(await check('late queues')).toMatchObject({ ok: true })
  await engine.travel('1 second')
  expect(await check('late queues')).toMatchObject({
    ok: false,
    detail: `${queue} (1 waiting, the oldest for 00:01:01)`,
  })
  await engine.rows('select dueq.purge($1)', [queue])
})

it('doctor: dead letters are reported by queue', async () => {
  const queue = await engine.queue()
  await engine.enqueue(queue)
  await engine.rows(`select dueq.dead_letter(id, attempt, 'test') from dueq.dequeue($1)`, [queue])
  expect(await check('dead letters')).toMatchObject({ ok: false, detail: `${queue} (1)` })
})

it('doctor: a default isolation above READ COMMITTED and lost durability are reported', async () => {
  await engine.rows(`set default_transaction_isolation = 'repeatable read'`)
  expect(await check('isolation')).toMatchObject({ ok: false, detail: expect.stringContaining('repeatable read') })
  await engine.rows('reset default_transaction_isolation')
  expect(await check('isolation')).toMatchObject({ ok: true })
  await engine.rows('set synchronous_commit = off')
  expect(await check('durability')).toMatchObject({ ok: false })
  await engine.rows('reset synchronous_commit')
})

it('doctor: messages without a queue are found', async () => {
  const queue = await engine.queue()
  await engine.enqueue(queue)
  await using session = await engine.session()
  await session.begin()
  await session.rows('delete from dueq.queues where name = $1', [queue])
  const rows = await session.rows<Check>('select "check", ok, detail from dueq.doctor()')
  expect(rows.at(-1)).toMatchObject({ check: 'orphans', ok: false, detail: '1 messages without a queue' })
  await session.rollback()
})
