import { afterAll, beforeAll, expect, it } from 'vitest'
import { type Engine, type EngineSession, startEngine } from './engine.js'

let engine: Engine
let session: EngineSession
beforeAll(async () => {
  engine = await startEngine()
  session = await engine.session()
})
afterAll(() => engine.close())

/** The whole life of messages through every function; what it returns must not depend on the session it runs in. */
async function lifeIn(caller: EngineSession): Promise<unknown> {
  const queue = await engine.queue(`lease => '12 hours'`)
  const seen: unknown[] = []
  const run = async (text: string, params: readonly unknown[] = []) => {
    const rows = await caller.rows(text, params)
    seen.push(rows.map((row) => ({ ...row, id: 'id' in row && row['id'] !== null })))
    return rows
  }
  const [first] = await run(
    `select id, created from dueq.enqueue($1, '1', delay => '1 minute', dedup_key => 'a', priority => 3)`,
    [queue],
  )
  const [second] = await run(
    `select id, created from dueq.enqueue_many($1, array['2', '3']::jsonb[], dedup_keys => array['a', 'b'])
      order by ordinality desc`,
    [queue],
  )
  await run('select dueq.reschedule($1)', [first!['id']])
  await run('select id, attempt, payload, extract(epoch from lateness) as late from dueq.dequeue($1, 5)', [queue])
  await run('select id, extract(epoch from next_ready_at - polled_at) as next from dueq.poll($1, 5)', [queue])
  await run(`select extract(epoch from dueq.extend($1, 1, '1 hour') - dueq.clock()) as left`, [first!['id']])
  await run('select outcome from dueq.extend_many(array[$1::bigint], array[1], $2)', [first!['id'], '1 minute'])
  await run(`select dueq.nack($1, 1, 'e', '0')`, [first!['id']])
  await run('select outcome from dueq.ack_many(array[$1, $2]::bigint[], array[1, 1])', [first!['id'], second!['id']])
  await run(`select dueq.dead_letter(id, attempt, 'r') from dueq.dequeue($1)`, [queue])
  await run('select dead_id is not null as redriven from dueq.redrive($1)', [queue])
  await run('select state, priority, failures from dueq.message_states where queue = $1', [queue])
  await run('select extract(epoch from dueq.next_ready_at($1) - dueq.clock()) as next', [queue])
  await run('select ready, dead, extract(epoch from ready_for) as late from dueq.queue_stats where queue = $1', [queue])
  await run('select dueq.pause_queue($1), dueq.resume_queue($1), dueq.purge($1), dueq.purge_dead($1)', [queue])
  await run('select dueq.drop_queue($1)', [queue])
  await run('select "check" from dueq.doctor()')
  return seen
}

let expected: unknown
beforeAll(async () => {
  expected = await lifeIn(engine)
})

const imposters = (schema: string) => `
  create ${schema === 'pg_temp' ? 'temp' : ''} table ${schema}.messages (id bigint);
  create ${schema === 'pg_temp' ? 'temp' : ''} table ${schema}.queues (id integer);
  create ${schema === 'pg_temp' ? 'temp' : ''} table ${schema}.dead_letters (id bigint);
  create function ${schema}.clock() returns timestamptz language sql as $$ select timestamptz '1999-01-01' $$;
  create function ${schema}._wake(queue text, ready_at timestamptz) returns void language sql as $$ select 1 / 0 $$;
  create function ${schema}._check_lease(lease interval) returns void language sql as $$ select 1 / 0 $$;
  create function ${schema}.clock_timestamp() returns timestamptz language sql as $$ select timestamptz '1999-01-01' $$;`

it('promise 8a: temporary tables and functions of the caller with the names of the engine change nothing', async () => {
  await session.begin()
  await session.rows(imposters('pg_temp'))
  expect(await lifeIn(session)).toEqual(expected)
  await session.rollback()
})

it('promise 8a: nor does a search path that leads to others, in front of the catalog even', async () => {
  await session.begin()
  await session.rows(`create schema hostile_${engine.schema}; ${imposters(`hostile_${engine.schema}`)}`)
  await session.rows(`set local search_path = hostile_${engine.schema}, pg_catalog, public`)
  expect(await lifeIn(session)).toEqual(expected)
  await session.rollback()
})

it.each([
  `set local datestyle = 'German, DMY'`,
  `set local datestyle = 'SQL, MDY'`,
  `set local timezone = 'Pacific/Chatham'`,
  `set local timezone = '-12:34'`,
  `set local intervalstyle = 'sql_standard'`,
  `set local extra_float_digits = -15`,
  `set local standard_conforming_strings = off`,
  `set local client_encoding = 'latin1'`,
  `set local search_path = ''`,
  `set local enable_indexscan = off`,
  `set local plan_cache_mode = force_generic_plan`,
  `set local plpgsql.variable_conflict = error`,
  `set local transform_null_equals = on`,
])('promise 8a: %s changes nothing', async (text) => {
  await session.begin()
  await session.rows(text)
  expect(await lifeIn(session)).toEqual(expected)
  await session.rollback()
})
