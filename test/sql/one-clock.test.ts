import { afterAll, beforeAll, expect, it } from 'vitest'
import { freshSchema, type TestSchema } from '../support/database.js'
import { openSession } from '../support/sessions.js'

// The clock of these tests is the engine's own: nothing here travels.
let test: TestSchema
beforeAll(async () => {
  test = await freshSchema()
})
afterAll(() => test.close())

it('promise 8: no function but clock() reads the time, and doctor to compare the two', async () => {
  const { sql, schema } = test
  const readers = await sql<{ name: string }[]>`
    select p.proname as name
      from pg_proc p
     where p.pronamespace = ${schema}::regnamespace
       and regexp_replace(p.prosrc, '--[^\n]*', '', 'g')
           ~* '\\m(now|clock_timestamp|statement_timestamp|transaction_timestamp|timeofday)\\s*\\(|\\mcurrent_(timestamp|date|time)\\M|\\mlocaltime(stamp)?\\M|''(now|today|tomorrow|yesterday)'''
     order by p.proname`
  expect(readers.map(({ name }) => name)).toEqual(['_check_server', 'clock'])
})

it('promise 8: nor does a view or a default of a column', async () => {
  const { sql, schema } = test
  // Definitions are asked for by name: the catalog's own views describe the schemas of other tests too, while they go.
  const found = await sql`
    with own as materialized (
      select oid, relkind from pg_class where relnamespace = ${schema}::regnamespace and relkind in ('r', 'v')
    ), definitions as materialized (
      select case when relkind = 'v' then pg_get_viewdef(oid) end as definition from own
       union all
      select pg_get_expr(d.adbin, d.adrelid) from own join pg_attrdef d on d.adrelid = own.oid
    )
    select definition from definitions where definition ~* 'now\\(|_timestamp'`
  expect(found).toEqual([])
})

it('promise 8: inside a long transaction a delay counts from now, not from its start', async () => {
  const { schema } = test
  await using session = await openSession()
  await session.query(`select ${schema}.create_queue('long')`)
  await session.begin()
  await session.query('select now()')
  await session.query('select pg_sleep(0.05)')
  await session.query(`select id from ${schema}.enqueue('long', '1', delay => '1 minute')`)
  const [enqueued] = await session.query<{ isLate: boolean; isDueLater: boolean }>(
    `select enqueued_at >= now() + interval '50 milliseconds' as "isLate",
            due_at >= now() + interval '1 minute 50 milliseconds' as "isDueLater"
       from ${schema}.message_states`,
  )
  expect(enqueued).toEqual({ isLate: true, isDueLater: true })
  await session.rollback()
})

it('promise 8: inside a long transaction a lease, a retry and an extension count from now as well', async () => {
  const { schema } = test
  await using session = await openSession()
  await session.query(`select ${schema}.create_queue('leases', lease => '1 minute')`)
  await session.query(`select id from ${schema}.enqueue_many('leases', array['1', '2']::jsonb[])`)
  await session.begin()
  await session.query('select now()')
  await session.query('select pg_sleep(0.05)')
  const claims = await session.query<{ id: string; isLate: boolean }>(
    `select id, lease_ends_at >= now() + interval '1 minute 50 milliseconds' as "isLate" from ${schema}.dequeue('leases', 2)`,
  )
  expect(claims.map(({ isLate }) => isLate)).toEqual([true, true])
  const [row] = await session.query(
    `select ${schema}.extend($1, 1) >= now() + interval '1 minute 50 milliseconds' as "isExtended",
            ${schema}.nack($2, 1, delay => '1 minute') as nack`,
    [claims[0]!.id, claims[1]!.id],
  )
  expect(row).toEqual({ isExtended: true, nack: 'retry' })
  const [retry] = await session.query(
    `select ready_at >= now() + interval '1 minute 50 milliseconds' as "isLate" from ${schema}.message_states where id = $1`,
    [claims[1]!.id],
  )
  expect(retry).toEqual({ isLate: true })
  await session.rollback()
})

it('promise 8: the time of day of a client is never asked for', async () => {
  const { sql, schema } = test
  const parameters = await sql<{ name: string }[]>`
    select distinct unnest(p.proargnames[1:p.pronargs]) as name
      from pg_proc p
     where p.pronamespace = ${schema}::regnamespace and p.proname !~ '^_'`
  const names = parameters.map(({ name }) => name)
  expect(names).toContain('delay')
  expect(names.filter((name) => /now|time|clock|today/.test(name))).toEqual([])
})
