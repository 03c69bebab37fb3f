// A schema is upgraded while others are at work in it: they hold locks, or migrate too.
import { setTimeout as delay } from 'node:timers/promises'
import { afterAll, afterEach, beforeEach, describe, expect, it } from 'vitest'
import { type Dueq, defineQueue, migrate, migrationStatus } from '../../src/index.js'
import { codeOf } from '../client/client.js'
import { closeSessions, openSession } from '../support/sessions.js'
import { type LaterRelease, laterRelease } from './later.js'
import { type KeptSchema, keptSchema, releases } from './release.js'

afterAll(closeSessions)

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

  it('functions are exchanged beside open transactions that changed messages and hold leases: nobody waits', async () => {
    await upgrade() // with what it has for the tables, which may have to wait
    await old.queue(queue).enqueueMany([{ payload: 1 }, { payload: 2 }])
    await using holder = await openSession(kept.url)
    await holder.begin()
    await holder.query(`update ${kept.schema}.messages set headers = null`)
    await holder.query(`select * from ${kept.schema}.dequeue('q', max => 1)`)
    await using later = await laterRelease({ 'engine/85_later.sql': '-- another text' })
    expect((await upgrade(later)).applied).toHaveLength(1)
    expect(await enqueue()).toBe('none')
    await holder.rollback()
  })

  it('a migration of tables stands aside for open transactions: the old consumers and producers go on, and it gets through', async () => {
    const handled = new Set<number>()
    const consumer = old.queue(queue).consume(({ payload }) => void handled.add(payload))
    const { id } = await old.queue(queue).enqueue(0, { delay: '1h' })
    await using holder = await openSession(kept.url)
    await holder.begin()
    await holder.query(`select id from ${kept.schema}.messages where id = $1 for update`, [id])
    await using later = await laterRelease({ '9998_later.sql': 'alter table messages add column later integer;' })
    let isOver = false
    const upgrading = upgrade(later).finally(() => {
      isOver = true
    })
    const end = performance.now() + 2_100
    let count = 0
    while (performance.now() < end) {
      await old.queue(queue).enqueue(++count) // rejects after two seconds behind a lock
      await delay(20)
    }
    await expect.poll(() => handled.size).toBe(count)
    expect(isOver).toBe(false)
    await holder.commit()
    expect((await upgrading).applied).toContain('9998_later')
    await consumer.stop()
  })

  it('rights that somebody changes at that moment are neither lost nor in the way', async () => {
    await using holder = await openSession(kept.url)
    await holder.begin()
    await holder.query(`grant execute on function ${kept.schema}.clock() to public`)
    const upgrading = upgrade()
    const waiting = async (): Promise<number> => {
      const [row] = await kept.sql`
        select count(*)::int as count from pg_stat_activity
         where ${holder.pid} = any(pg_blocking_pids(pid)) and application_name = 'dueq migrate'`
      return row!['count'] as number
    }
    await expect.poll(waiting, { interval: 10 }).toBe(1)
    await holder.commit()
    expect((await upgrading).applied).not.toEqual([])
    const [row] =
      await kept.sql`select has_function_privilege('public', ${`${kept.schema}.clock()`}, 'execute') as granted`
    expect(row).toEqual({ granted: true })
  })

  it('of migrators at once one applies everything, and the others find it done', async () => {
    const results = await Promise.all([upgrade(), upgrade(), upgrade()])
    expect(results.map(({ applied }) => applied.length > 0).sort()).toEqual([false, false, true])
    expect(await migrationStatus({ url: kept.url, schema: kept.schema })).toMatchObject({ pending: [], newer: [] })
  })
})
