// Whoever may not read payloads cannot, by whatever statement: everything the server says to a producer and to a viewer (rows,
// errors with all their fields, notices, notifications) is searched for what somebody else has enqueued.
import type pg from 'pg'
import { afterAll, beforeAll, expect, it } from 'vitest'
import { freshSchema, type TestSchema } from '../support/database.js'
import { openSession } from '../support/sessions.js'
import { type Login, type Roles, startRoles } from './roles.js'

const secret = 's3cr3t'
let test: TestSchema
let roles: Roles
beforeAll(async () => {
  test = await freshSchema()
  roles = await startRoles(test)
  await test.sql.unsafe(
    named(`
    select dueq.create_queue('q', max_attempts => 1), dueq.create_queue('leased'), dueq.create_queue('failed');
    select dueq.enqueue('q', '{"s3cr3t": 1}', headers => '{"s3cr3t": 2}', dedup_key => 'known');
    select dueq.enqueue('q', '{"s3cr3t": 1}', dedup_key => 's3cr3t-' || n) from generate_series(1, 300) n;
    select dueq.enqueue('leased', '"s3cr3t"');
    select count(*) from dueq.dequeue('leased');
    select dueq.enqueue('failed', '"s3cr3t"', headers => '{"s3cr3t": 2}', dedup_key => 's3cr3t');
    select dueq.dead_letter(id, attempt, 's3cr3t', 's3cr3t') from dueq.dequeue('failed');
    analyze dueq.messages, dueq.dead_letters;`),
  )
})
afterAll(async () => {
  await roles?.[Symbol.asyncDispose]()
  await test.close()
})

/** Statements that show what a row holds to whoever may read it, or has left something open. */
const tricks: readonly string[] = [
  // Reading
  'table dueq.messages',
  'select payload from dueq.messages',
  'select payload, headers, last_error, dedup_key from dueq.message_states',
  'select * from dueq.message_states',
  'select payload, headers, last_error, dedup_key, reason from dueq.dead_messages',
  'select m from dueq.message_states m',
  'select to_jsonb(m) from dueq.messages m',
  'select count(*) from dueq.messages m where m.payload ? $$s3cr3t$$',
  'copy dueq.messages to stdout',
  'copy (select payload from dueq.messages) to stdout',
  `select query_to_xml('select payload from dueq.messages', true, true, '')`,
  `select table_to_xml('dueq.messages', true, true, '')`,
  `select schema_to_xml('dueq', true, true, '')`,
  `select ts_stat('select to_tsvector(payload::text) from dueq.messages')`,
  `select currtid2('dueq.messages', '(0,1)')`,
  'explain (analyze, verbose) select payload from dueq.messages',
  'declare c cursor for select payload from dueq.messages',
  'create temp table mine as select payload from dueq.messages',
  'create temp view mine as select payload from dueq.messages; select payload from mine',
  'create temp table mine () inherits (dueq.messages); select * from dueq.messages',
  'create temp table mine (id bigint references dueq.messages (id)); insert into mine values (1)',
  'create statistics mine on payload, id from dueq.messages',
  // Writing, and what it gives back
  'update dueq.messages set ready_at = ready_at returning payload',
  'delete from dueq.messages returning payload',
  'insert into dueq.messages select * from dueq.messages returning payload',
  `insert into dueq.messages (id, queue_id, ready_at, due_at, enqueued_at, payload, dedup_key)
   values (1, 1, now(), now(), now(), '1', 'known') on conflict (dedup_key, queue_id) where dedup_key is not null
   do update set payload = messages.payload returning payload`,
  'merge into dueq.messages m using dueq.messages n on m.id = n.id when matched then delete',
  'lock table dueq.messages',
  // What the server knows beside the rows
  `select most_common_vals::text, histogram_bounds::text, most_common_elems::text from pg_stats where schemaname = 'dueq'`,
  'select stavalues1::text from pg_statistic',
  `select most_common_vals::text from pg_stats_ext where schemaname = 'dueq'`,
  'select query, application_name from pg_stat_activity',
  'select * from pg_locks',
  'select * from pg_prepared_statements',
  `select pg_read_file('postgresql.conf')`,
  `select pg_ls_dir('base')`,
  `select lo_import('/etc/hostname')`,
  // Through the functions: duplicates, errors of all kinds, the text that errors carry along
  `select * from dueq.enqueue('q', '1', dedup_key => 'known')`,
  `select * from dueq.enqueue_many('q', array['1', '2']::jsonb[], dedup_keys => array['known', 's3cr' || '3t-7'])`,
  `select * from dueq.enqueue('q', '1', priority => 1000)`,
  `select * from dueq.enqueue('q', null)`,
  `select * from dueq.enqueue('none', '1')`,
  `select * from dueq.enqueue('q', '1', headers => '[]')`,
  `select * from dueq.enqueue('q', '1', at => 'infinity')`,
  `select * from dueq.enqueue_many('q', array['1', null]::jsonb[])`,
  `select * from dueq.enqueue_many('q', array['1']::jsonb[], delays => array['-1 s']::interval[])`,
  `set local client_min_messages = debug5; set local debug_print_parse = on; set local debug_print_rewritten = on;
   set local debug_print_plan = on; select * from dueq.enqueue('q', '1', dedup_key => 'known')`,
  `set local client_min_messages = log; set local log_min_duration_statement = 0; select * from dueq.enqueue('q', '1')`,
  `load 'auto_explain'`,
  `set local session_replication_role = replica`,
  `explain (analyze, verbose) select * from dueq.enqueue('q', '1', dedup_key => 'known')`,
  `do $do$ declare v_all text; begin
     perform dueq.enqueue_many('q', array['1', null]::jsonb[]);
   exception when others then
     get stacked diagnostics v_all = pg_exception_context;
     raise notice '%', v_all;
   end $do$`,
  'select * from dueq.dequeue($$q$$)',
  'select * from dueq.poll($$q$$)',
  'select * from dueq.redrive($$failed$$)',
  'select dueq._to_dead_letters(array[1]::bigint[], null, null, 0, 0)',
  'select dueq._front(1, array[0]::smallint[], now())',
  'select * from dueq.doctor()',
  'select dueq.restore_grants()',
  'select * from dueq.queue_stats',
  'select * from dueq.queue_settings',
  // Other rights
  'set role dueq_operator',
  'grant dueq_operator to current_user',
  'alter role current_user superuser',
  'alter function dueq.enqueue set search_path = public',
  'alter table dueq.messages disable row level security',
  'create policy mine on dueq.messages using (true)',
  'create rule mine as on insert to dueq.messages do also select new.payload',
  'create publication mine for table dueq.messages',
  `create function dueq.jsonb_typeof(jsonb) returns text language sql as 'select 1 / 0'`,
]

it.each(['producer', 'viewer', 'nobody'] as const)('%s sees no payload, by none of all statements', async (login) => {
  const heard = await saidTo(login, [...tricks, ...(await everyColumn())])
  expect(heard.length).toBeGreaterThan(tricks.length - 5)
  expect(heard.filter((text) => text.includes(secret))).toEqual([])
})

it('the same statements show payloads to those who may read them, so the search finds what there is', async () => {
  const heard = await saidTo('operator', [...tricks, ...(await everyColumn())])
  expect(heard.filter((text) => text.includes(secret)).length).toBeGreaterThan(1)
})

it('operators and functions of a producer are not called on the rows of others', async () => {
  const session = await roles.session('producer')
  const heard = hearing(session)
  await session.query('begin')
  const traps = ['jsonb', 'text', 'bigint', 'integer', 'timestamptz'].map((type, i) =>
    named(`
    create function pg_temp.trap${i}(a ${type}, b ${type}) returns boolean language plpgsql as $$
      begin raise notice 'trapped % %', a, b; return true; end $$;
    create operator pg_temp.= (leftarg = ${type}, rightarg = ${type}, function = pg_temp.trap${i});
    create operator pg_temp.<= (leftarg = ${type}, rightarg = ${type}, function = pg_temp.trap${i});
    create function pg_temp.octet_length(a ${type}) returns integer language plpgsql as $$
      begin raise notice 'trapped %', a; return 1; end $$;
    create function pg_temp.jsonb_typeof(a ${type}) returns text language plpgsql as $$
      begin raise notice 'trapped %', a; return 'object'; end $$;`),
  )
  await session.query(traps.join(''))
  await session.query(`set local search_path = pg_temp, pg_catalog`)
  await session.query(named(`select * from dueq.enqueue('q', '{"mine": 1}', headers => '{}', dedup_key => 'known')`))
  await session.query(named(`select * from dueq.enqueue_many('q', array['1']::jsonb[], dedup_keys => array['known'])`))
  expect(heard.join('\n')).not.toContain('trapped')
  await session.query('rollback')
})

it('waiting for a dedup key that an open transaction has tells nothing of its message', async () => {
  const holder = await openSession()
  await holder.begin()
  await holder.query(named(`select id from dueq.enqueue('q', '"s3cr3t"', dedup_key => 'held')`))
  const heard = await saidTo('producer', [`select * from dueq.enqueue('q', '1', dedup_key => 'held')`])
  await holder.rollback()
  await holder.close()
  expect(heard.join('\n')).toContain('55P03')
  expect(heard.join('\n')).not.toContain(secret)
})

it('a row refused by a constraint, or by the primary key, tells of the row of the producer alone', async () => {
  const messages = named('dueq.messages')
  await test.sql.unsafe(`alter table ${messages} add constraint odd check (payload <> '"odd"')`)
  const [{ last }] = (await test.sql.unsafe(
    `select last_value::text as last from ${named('dueq.messages_id_seq')}`,
  )) as [{ last: string }]
  try {
    const odd = await saidTo('producer', [`select * from dueq.enqueue('q', '"odd"')`])
    expect(odd.join('\n')).toContain('23514')
    expect(odd.join('\n')).not.toContain(secret)
    await test.sql.unsafe(named(`select setval('dueq.messages_id_seq', 1, false)`))
    const taken = await saidTo('producer', [`select * from dueq.enqueue('q', '1')`])
    expect(taken.join('\n')).toContain('23505')
    expect(taken.join('\n')).not.toContain(secret)
  } finally {
    await test.sql.unsafe(
      named(`alter table dueq.messages drop constraint odd; select setval('dueq.messages_id_seq', ${last})`),
    )
  }
})

it('a notification holds a queue and an instant, and nothing of the message', async () => {
  const session = await roles.session('nobody')
  const heard: string[] = []
  session.on('notification', ({ payload = '' }) => heard.push(payload))
  await session.query(named('listen dueq'))
  await test.sql.unsafe(named(`select count(*) from dueq.poll('leased', listening => true)`))
  await test.sql.unsafe(
    named(`select dueq.enqueue('leased', '"s3cr3t"', headers => '{"s3cr3t": 1}', dedup_key => 's3cr3t')`),
  )
  await expect.poll(() => heard.length, { timeout: 10_000 }).toBeGreaterThan(0)
  for (const payload of heard) expect(payload).toMatch(/^leased \d+\.\d+$/)
})

// --- internal ---

/** Reads each column of all there is by itself. */
async function everyColumn(): Promise<readonly string[]> {
  const rows = await test.sql<{ text: string }[]>`
    select format('select %I::text from dueq.%I', a.attname, c.relname) as text
      from pg_class c join pg_attribute a on a.attrelid = c.oid and a.attnum > 0 and not a.attisdropped
     where c.relnamespace = ${test.schema}::regnamespace and c.relkind in ('r', 'v', 'S')`
  return rows.map(({ text }) => text)
}

function named(text: string): string {
  return text.replace(/\bdueq(?=[._'; ]|$)/g, test.schema)
}

/** Everything the server says from now on without being asked. */
function hearing(session: pg.Client): string[] {
  const heard: string[] = []
  session.on('notice', (notice) => heard.push(everythingOf(notice)))
  session.on('notification', (notification) => heard.push(JSON.stringify(notification)))
  return heard
}

/** Everything the server says to a login about these statements: one text each, and those that came by themselves. */
async function saidTo(login: Login, statements: readonly string[]): Promise<readonly string[]> {
  const session = await roles.session(login)
  const heard = hearing(session)
  await session.query(named('listen dueq'))
  const said: string[] = []
  for (const statement of statements) {
    await session.query('begin')
    try {
      said.push(JSON.stringify(await session.query(named(statement)).then(rowsOf)))
    } catch (error) {
      said.push(everythingOf(error))
    }
    await session.query('rollback')
  }
  return [...said, ...heard]
}

function rowsOf(result: pg.QueryResult | readonly pg.QueryResult[]): unknown {
  return [result].flat().map(({ rows }) => rows)
}

/** All fields of an error or a notice: message, detail, hint, where, internal query … but not the statement that was sent. */
function everythingOf(error: unknown): string {
  const fields = Object.getOwnPropertyNames(error).filter((name) => name !== 'stack')
  return JSON.stringify(Object.fromEntries(fields.map((name) => [name, (error as Record<string, unknown>)[name]])))
}
