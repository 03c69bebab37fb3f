// What is in a schema when it is upgraded is there afterwards, and goes on: messages, leases, dead letters, settings, rights.
import { describe, expect, test } from 'vitest'
import { defineQueue, migrate } from '../../src/index.js'
import { startRole } from '../support/role.js'
import { laterRelease } from './later.js'
import { type KeptSchema, keptSchema, releases } from './release.js'

/** All rows, as text, but for columns that are new. */
async function rowsOf({ sql, schema }: KeptSchema, columns?: readonly string[]): Promise<readonly string[]> {
  const tables = ['queues', 'messages', 'dead_letters']
  const rows = await Promise.all(
    tables.map((table) =>
      sql.unsafe(`select '${table}' as table, to_jsonb(t) as row from ${schema}.${table} t order by t.id`),
    ),
  )
  return rows.flat().map(({ table, row }) => {
    const known = Object.entries(row as object).filter(([column]) => columns?.includes(`${table}.${column}`) ?? true)
    return `${table} ${JSON.stringify(Object.fromEntries(known))}`
  })
}

async function columnsOf({ sql, schema }: KeptSchema): Promise<readonly string[]> {
  const rows =
    await sql`select table_name || '.' || column_name as name from information_schema.columns where table_schema = ${schema}`
  return rows.map((row) => row['name'] as string)
}

describe.each(releases)('from $version', (release) => {
  test('delayed, leased, retried, deduplicated, parked in the dead letters: everything is as it was, and goes on', async () => {
    await using kept = await keptSchema(release)
    const [old, current] = [kept.old(), kept.current()]
    const work = defineQueue<string>('work', { lease: '1h', maxAttempts: 2, backoff: { base: '1h', max: '1h' } })
    const paused = defineQueue<string>('paused', { lease: '2h', pollInterval: '7s' })
    await old.ensure([work, paused])
    await old.queue(paused).enqueue('waits', { priority: -7 })
    await old.queue(paused).pause()
    const before = old.queue(work)
    const [, , , delayed, deduped] = await before.enqueueMany([
      { payload: 'held, acked by its client' },
      { payload: 'held, settled from SQL' },
      { payload: 'retried' },
      { payload: 'delayed', delay: '1d' },
      { payload: 'deduplicated', delay: '2d', dedupKey: 'k', headers: { to: 'x' } },
    ])
    const [own, other, retried] = await before.dequeue({ max: 3 })
    await retried!.nack(new Error('once'))
    const { id: doomed } = await before.enqueue('dead')
    await (await before.dequeue({ max: 1 }))[0]!.deadLetter('unwanted')
    const columns = await columnsOf(kept)
    const rows = await rowsOf(kept, columns)
    expect(rows).toHaveLength(9)

    expect(await kept.upgrade()).not.toEqual([])
    expect(await rowsOf(kept, columns)).toEqual(rows)

    await own!.ack()
    const acked = await kept.sql`select ${kept.sql(kept.schema)}.ack(${other!.id}, ${other!.attempt}) as acked`
    expect(acked[0]).toEqual({ acked: true })
    await expect(other!.ack()).rejects.toMatchObject({ code: 'lease.lost' })
    const after = current.queue(work)
    expect(await after.enqueue('again', { dedupKey: 'k' })).toMatchObject({ id: deduped!.id, created: false })
    expect((await after.redrive()).map(({ deadId }) => deadId)).toEqual([doomed])
    expect(await current.reschedule(delayed!.id, { delay: '3d' })).not.toBeNull()
    expect(await current.queue(paused).dequeue({ max: 1 })).toEqual([])
    await current.queue(paused).resume()
    expect((await current.queue(paused).dequeue({ max: 1 })).map(({ payload }) => payload)).toEqual(['waits'])
    await kept.travel('4 days')
    const rest = await after.dequeue({ max: 10 })
    expect(rest.map(({ payload, failures }) => `${payload} ${failures}`).sort()).toEqual([
      'dead 0',
      'deduplicated 0',
      'delayed 0',
      'retried 1',
    ])
  })

  test('who was granted functions has them again, also where a function is another one; a role with all of them gets the new ones', async () => {
    await using kept = await keptSchema(release)
    const { sql, schema } = kept
    await using everything = await startRole(kept)
    await using some = await startRole(kept)
    const roleOf = ({ url }: { readonly url: string }): string => new URL(url).username
    await sql.unsafe(`
      revoke execute on all functions in schema ${schema} from ${roleOf(some)};
      grant execute on function ${schema}.next_ready_at(text), ${schema}.clock() to ${roleOf(some)} with grant option;
      grant execute on function ${schema}.schema_version() to public;
      create function ${schema}.of_the_user() returns integer language sql return 1`)
    const rights = async (): Promise<readonly string[]> => {
      const rows = await sql`
        select distinct coalesce(r.rolname, 'public') || ' ' || p.proname || case when a.is_grantable then ' with grant option' else '' end as text
          from pg_proc p cross join aclexplode(coalesce(p.proacl, acldefault('f', p.proowner))) a left join pg_roles r on r.oid = a.grantee
         where p.pronamespace = ${schema}::regnamespace and a.grantee <> p.proowner
         order by 1`
      return rows.map((row) => row['text'] as string)
    }
    const before = await rights()
    expect(before).toEqual(
      expect.arrayContaining([
        'public of_the_user',
        'public schema_version',
        `${roleOf(some)} clock with grant option`,
      ]),
    )
    await using later = await laterRelease(
      { 'engine/85_later.sql': 'create function later() returns integer language sql as $$ select 1 $$;' },
      {
        'engine/50_operate.sql': (text) =>
          text.replace('next_ready_at(queue text)', 'next_ready_at(queue text, later integer default null)'),
      },
    )
    await migrate({ url: kept.url, schema, directory: later.directory })
    const after = await rights()
    expect(after).toEqual(expect.arrayContaining([...before]))
    expect(after).toContain(`${roleOf(everything)} later`)
    expect(after.filter((right) => right.startsWith(roleOf(some)))).toHaveLength(2)
    expect(after.filter((right) => right.startsWith('public'))).toEqual(['public of_the_user', 'public schema_version'])
    const functions = await sql`
      select pg_get_function_identity_arguments(oid) as arguments from pg_proc
       where pronamespace = ${schema}::regnamespace and proname = 'next_ready_at'`
    expect(functions.map((row) => row['arguments'])).toEqual(['queue text, later integer'])
  })

  test('views and functions of the user that depend on those of dueq stay; where that is impossible, nothing changes', async () => {
    await using kept = await keptSchema(release)
    const { sql, schema } = kept
    await sql.unsafe(`
      create view ${schema}.of_the_user as
        select queue, ready, ${schema}.clock() as at, ${schema}.next_ready_at(queue) as next from ${schema}.queue_stats`)
    await kept.upgrade()
    await kept.current().ensure([defineQueue('q')])
    expect(await sql.unsafe(`select queue, ready::int from ${schema}.of_the_user`)).toMatchObject([
      { queue: 'q', ready: 0 },
    ])
    await using later = await laterRelease(
      {},
      {
        'engine/50_operate.sql': (text) =>
          text.replace('next_ready_at(queue text)', 'next_ready_at(queue text, later integer default null)'),
      },
    )
    const migrating = migrate({ url: kept.url, schema, directory: later.directory })
    await expect(migrating).rejects.toMatchObject({
      code: 'migration.failed',
      message: expect.stringMatching(/nothing was changed.*next_ready_at.*Drop your own, migrate/),
    })
    expect(await kept.upgrade()).toEqual([])
  })
})
