/**
 * No call may degrade because of statistics that have gone stale.
 *
 * The table is analyzed while it is nearly empty, every function is called until its plans are cached, and then 200,000
 * messages arrive behind autovacuum's back. What counts is the number of blocks a call touches, which is the same on a
 * fast and on a busy machine: it must stay near that of a new session, which plans afresh, and under a bound that a walk
 * through the table exceeds many times over.
 */
import { expect, it } from 'vitest'
import { freshSchema } from './support/database.js'
import { openSession, type Session } from './support/sessions.js'

/** A hint whose looks begin two hours ago. What is due by time is due in `seconds`: the wide look, the search ahead. */
function hint(queue: string, seconds: '0' | '-1'): string {
  const dueAt = `t.now + 900000 + ${seconds} * 1000000`
  return `(select array[q.id, t.now, t.now, 0, ${dueAt}, 0, ${dueAt}, 0, 6000000, 0, 0, 0, 0, t.now - 7200000000, t.now - 7200000000]::text
             from dueq.queues q, (select (extract(epoch from dueq.clock()) * 1000000)::bigint as now) t where q.name = '${queue}')`
}

/** Name, statement, and how many messages it touches. `$leased` and `$ready` stand for 200 ids each. */
const calls = [
  ['enqueue', `enqueue('busy', '1')`, 1],
  ['enqueue of a new dedup key', `enqueue('busy', '1', dedup_key => 'new')`, 1],
  ['enqueue of a live dedup key', `enqueue('busy', '1', dedup_key => 'k150000')`, 1],
  ['enqueue of a new level', `enqueue('busy', '1', priority => 7)`, 1],
  ['enqueue_many', `enqueue_many('busy', array_fill('1'::jsonb, array[200]))`, 200],
  [
    'enqueue_many with dedup keys',
    `enqueue_many('busy', array_fill('1'::jsonb, array[200]), dedup_keys => array(select 'k' || i * 999 from generate_series(1, 200) i))`,
    200,
  ],
  [
    '_enqueue_many_plain',
    `_enqueue_many_plain('busy', to_jsonb(array_fill('1'::jsonb, array[200])), array_fill(0, array[200]), true)`,
    200,
  ],
  ['enqueue into a limited queue, which is counted', `enqueue('limited', '1')`, 1],
  [
    'enqueue_many with live dedup keys into a limited queue',
    `enqueue_many('limited', array_fill('1'::jsonb, array[200]), dedup_keys => array(select 'k' || i * 999 from generate_series(1, 200) i))`,
    200,
  ],
  ['wake', `wake('busy')`, 1],
  ['poll', `poll('busy', 200)`, 200],
  ['poll of one message', `poll('busy', 1)`, 1],
  ['poll with nothing ready', `poll('future', 200)`, 1],
  ['poll of an empty queue', `poll('empty', 200)`, 1],
  ['poll with a hint', `poll('busy', 200, hint => ${hint('busy', '0')})`, 200],
  ['poll with a hint, looking wide', `poll('busy', 200, hint => ${hint('busy', '-1')})`, 200],
  ['poll with a hint and nothing ready', `poll('future', 200, hint => ${hint('future', '0')})`, 1],
  ['poll with a hint and nothing ready, searching', `poll('future', 200, hint => ${hint('future', '-1')})`, 1],
  ['poll that acks', `poll('empty', ack_ids => $leased, ack_attempts => array_fill(1, array[200]))`, 200],
  ['poll whose acks are lost', `poll('empty', ack_ids => $leased, ack_attempts => array_fill(2, array[200]))`, 200],
  ['poll that announces', `poll('empty', listening => true)`, 1],
  ['dequeue', `dequeue('busy', 200)`, 200],
  ['ack', 'ack(($leased)[1], 1)', 1],
  ['ack of a lost message', 'ack(($leased)[1], 2)', 1],
  ['ack_many', 'ack_many($leased, array_fill(1, array[200]))', 200],
  ['ack_many of lost messages', 'ack_many($leased, array_fill(2, array[200]))', 200],
  ['extend', 'extend(($leased)[1], 1)', 1],
  ['extend_many', `extend_many($leased, array_fill(1, array[200]), '1 minute')`, 200],
  ['nack', `nack(($leased)[1], 1, 'e')`, 1],
  ['nack_many', 'nack_many($leased, array_fill(1, array[200]))', 200],
  ['nack_many of lost messages', 'nack_many($leased, array_fill(2, array[200]))', 200],
  ['release', 'release(($leased)[1], 1)', 1],
  ['release_many', 'release_many($leased, array_fill(1, array[200]))', 200],
  ['release_many of lost messages', 'release_many($leased, array_fill(2, array[200]))', 200],
  ['dead_letter', `dead_letter(($leased)[1], 1, 'r')`, 1],
  ['cancel', 'cancel(($ready)[1])', 1],
  ['reschedule', 'reschedule(($ready)[1])', 1],
  ['redrive', `redrive('busy', max => 200)`, 200],
  ['redrive of a small queue', `redrive('future', max => 200)`, 1],
  ['redrive by id', `redrive('busy', ids => array[20099998, 20099999])`, 2],
  ['purge', `purge('busy', max => 200)`, 200],
  ['purge of an empty queue', `purge('empty')`, 1],
  ['purge_dead', `purge_dead('busy', max => 200)`, 200],
  ['purge_dead by id', `purge_dead('busy', ids => array[20099998, 20099999])`, 2],
  ['next_ready_at', `next_ready_at('busy')`, 1],
  ['next_ready_at of an empty queue', `next_ready_at('empty')`, 1],
  ['drop_queue', `drop_queue('empty')`, 1],
] as const

const messageCount = 200_000
const deadCount = 100_000

// Far above the ids that the calls themselves give out.
const firstMessage = 10_000_000
const firstDead = 20_000_000

it.each([0, 1, 3, 40])(
  'plans: no call walks the table after statistics of %i rows',
  { timeout: 60_000 },
  async (seen) => {
    await using test = await freshSchema()
    await using warm = await openSession()
    const named = (text: string) => text.replaceAll('dueq.', `${test.schema}.`)
    for (const table of ['messages', 'dead_letters']) {
      await warm.query(
        named(`alter table dueq.${table} set (autovacuum_enabled = off, toast.autovacuum_enabled = off)`),
      )
    }
    await warm.query(named(`select dueq.create_queue(name) from unnest('{busy,future,empty}'::text[]) name`))
    // The tickets of calls that are rolled back are drawn for good, so that they are used up now and then, and it counts.
    await warm.query(named(`select dueq.create_queue('limited', max_depth => 200)`))
    await fill(warm, named, 0, seen, seen)
    await warm.query(named('vacuum analyze dueq.messages'))
    await warm.query(named('vacuum analyze dueq.dead_letters'))
    await warm.query(named('vacuum analyze dueq.queues'))
    for (const [, call] of calls) {
      for (let i = 0; i < 8; i++) await blocksOf(warm, named(statement(call, seen)))
    }

    await fill(warm, named, seen, messageCount, deadCount)
    await using fresh = await openSession()
    const slow: string[] = []
    for (const [name, call, count] of calls) {
      const text = named(statement(call, messageCount))
      // The smaller of two: once in a while a call finds an index page full and visits what its entries lead to.
      const cached = Math.min(await blocksOf(warm, text), await blocksOf(warm, text))
      const planned = Math.min(await blocksOf(fresh, text), await blocksOf(fresh, text))
      const bound = 40 * count + 400
      if (planned > bound || cached > Math.min(3 * planned + 100, bound)) {
        slow.push(`${name}: ${cached} blocks, with a fresh plan ${planned}`)
      }
    }
    expect(slow).toEqual([])
  },
)

/** The blocks that a call touches, found or read; what it changes is rolled back. */
async function blocksOf(session: Session, text: string): Promise<number> {
  await session.begin()
  try {
    const [row] = await session.query<{ 'QUERY PLAN': readonly [{ readonly Plan: Readonly<Record<string, number>> }] }>(
      `explain (analyze, buffers, timing off, format json) ${text}`,
    )
    const plan = row!['QUERY PLAN'][0].Plan
    return plan['Shared Hit Blocks']! + plan['Shared Read Blocks']!
  } finally {
    await session.rollback()
  }
}

/** Selects from the call, with the ids of the leased and the ready messages written out. */
function statement(call: string, count: number): string {
  const ids = (from: number) => `'{${Array.from({ length: 200 }, (_, i) => firstMessage + from + i)}}'::bigint[]`
  return `select count(*) from dueq.${call.replaceAll('$leased', ids(1)).replaceAll('$ready', ids(count - 250))} call`
}

/**
 * Adds messages and dead letters up to these counts: the first 200 messages are leased, every second has a dedup key, every
 * tenth is of another queue and due tomorrow. All dead letters but the last are of the busy queue.
 */
async function fill(session: Session, named: (text: string) => string, from: number, to: number, deadTo: number) {
  await session.query(
    named(`
      insert into dueq.messages
             (id, queue_id, ready_at, due_at, enqueued_at, ready_since, leased_by, attempt, dedup_key, payload)
      select ${firstMessage} + i, q.id,
             t.now + case when i <= 200 then interval '1 hour' when q.name = 'future' then '1 day' else '-1 hour' end,
             t.now, t.now, case when i <= 200 then t.now end, case when i <= 200 then 'consumer' end,
             (i <= 200)::integer, case when i % 2 = 0 then 'k' || i end, '{"to": 7}'
        from generate_series($1::integer + 1, $2::integer) i
        join dueq.queues q on q.name = case when i % 10 = 0 and i > 200 then 'future' else 'busy' end
       cross join (select dueq.clock() as now) t`),
    [from, to],
  )
  await session.query(
    named(`
      insert into dueq.dead_letters
             (id, queue_id, priority, due_at, enqueued_at, died_at, attempt, failures, lapses, reason, payload)
      select ${firstDead} + i, q.id, 0, t.now, t.now, t.now, 1, 1, 0, 'r', '1'
        from generate_series($1::integer + 1, $2::integer) i
        join dueq.queues q on q.name = case when i = $2 then 'future' else 'busy' end
       cross join (select dueq.clock() as now) t`),
    [from, deadTo],
  )
}
