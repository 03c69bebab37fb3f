// A migrator dies or stops half-way: nothing is changed, nobody is kept out, and the next one goes through.
import pg from 'pg'
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, inject, it } from 'vitest'
import { dumpSchema } from '../../scripts/schema-dump.mjs'
import { type Dueq, defineQueue, migrate } from '../../src/index.js'
import { codeOf } from '../client/client.js'
import { killAll, startProcess, type TestProcess } from '../support/processes.js'
import { type LaterRelease, laterRelease } from './later.js'
import { type KeptSchema, keptSchema, releases } from './release.js'

let client: pg.Client
beforeAll(async () => {
  client = new pg.Client({ connectionString: inject('databaseUrl') })
  await client.connect()
})
afterEach(killAll)
afterAll(() => client.end())

describe.each(releases)('from $version', (release) => {
  const queue = defineQueue<number>('q', { pollInterval: '100ms' })
  let kept: KeptSchema
  let old: Dueq
  beforeEach(async () => {
    kept = await keptSchema(release)
    old = kept.old()
    await old.ensure([queue])
  })
  afterEach(() => kept.close())

  const enqueue = (): Promise<string> => codeOf(old.queue(queue).enqueue(1))
  const upgrade = (later?: LaterRelease): ReturnType<typeof migrate> =>
    migrate({ url: kept.url, schema: kept.schema, ...later })
  /** A release whose migration takes the tables, and is slow. */
  const slowRelease = (seconds: number): Promise<LaterRelease> =>
    laterRelease({
      '9997_first.sql': 'alter table queues add column later integer;',
      '9998_slow.sql': `alter table messages add column later integer; select pg_sleep(${seconds}) /* ${kept.schema} */;`,
    })
  /** The process of the server in which the slow migration is at work. */
  const untilSlow = async (): Promise<number> => {
    const find = async (): Promise<number | undefined> => {
      const { rows } = await client.query(
        `select pid from pg_stat_activity where wait_event = 'PgSleep' and query like $1`,
        [`%${kept.schema}%`],
      )
      return rows[0]?.pid
    }
    await expect.poll(find, { timeout: 20_000 }).toBeDefined()
    return (await find())!
  }
  const startMigrator = (later: LaterRelease): TestProcess =>
    startProcess('test/upgrade/fixtures/migrate.mjs', [], {
      DUEQ_URL: kept.url,
      DUEQ_TEST_SCHEMA: kept.schema,
      DIRECTORY: later.directory,
    })

  it('a migrator that is killed half-way leaves nothing behind, and the next one goes through', async () => {
    const before = await dumpSchema(client, kept.schema)
    await using later = await slowRelease(1)
    const migrator = startMigrator(later)
    await untilSlow()
    await migrator.kill('SIGKILL')
    expect(await enqueue()).toBe('none') // once the server has noticed
    expect(await dumpSchema(client, kept.schema)).toBe(before)
    expect((await upgrade()).applied).not.toEqual([])
    expect(await enqueue()).toBe('none')
  })

  it('a migration whose session is ended by the server leaves nothing behind, and the next one goes through', async () => {
    const before = await dumpSchema(client, kept.schema)
    await using later = await slowRelease(60)
    const migrating = upgrade(later).then(
      () => 'none',
      (error: unknown) => error,
    )
    await client.query('select pg_terminate_backend($1)', [await untilSlow()])
    expect(await migrating).toMatchObject({ code: 'database.unreachable' })
    expect(await dumpSchema(client, kept.schema)).toBe(before)
    expect((await upgrade()).applied).not.toEqual([])
  })

  it('a migrator that stops half-way, as its machine may, is ended by the server, and everybody goes on', async () => {
    const before = await dumpSchema(client, kept.schema)
    await using later = await slowRelease(0.5)
    const migrator = startMigrator(later)
    await untilSlow()
    process.kill(migrator.pid, 'SIGSTOP')
    const consumer = old.queue(queue).consume(() => {})
    await expect.poll(enqueue, { timeout: 30_000 }).toBe('none')
    await expect.poll(() => old.queue(queue).stats(), { timeout: 10_000 }).toMatchObject({ ready: 0, leased: 0 })
    expect(await dumpSchema(client, kept.schema)).toBe(before)
    await migrator.kill('SIGKILL')
    await consumer.stop()
  })
})
