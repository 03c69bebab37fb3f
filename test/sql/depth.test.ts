// max_depth: a queue holds so many live messages, and what open transactions bring. Exact in one session; room comes back
// whatever made it; nobody waits for anybody.
import { afterAll, beforeAll, expect, it } from 'vitest'
import { type Engine, type EngineSession, startEngine } from './engine.js'

let engine: Engine
beforeAll(async () => {
  engine = await startEngine()
})
afterAll(() => engine.close())

const limited = (maxDepth: number, more = '') => engine.queue(`max_depth => ${maxDepth}${more}`)
const many = (queue: string, count: number, session: EngineSession = engine) =>
  session.rows(`select id from dueq.enqueue_many($1, array_fill('1'::jsonb, array[$2::integer]))`, [queue, count])
const one = (queue: string, session: EngineSession = engine) =>
  session.rows<{ id: string }>(`select id from dueq.enqueue($1, '1')`, [queue])
const refusal = (queue: string, count = 1, session: EngineSession = engine) =>
  session.sqlstate(`select id from dueq.enqueue_many($1, array_fill('1'::jsonb, array[$2::integer]))`, [queue, count])
const depth = async (queue: string) =>
  Number(await engine.value('select delayed + ready + leased + lapsed from dueq.queue_stats where queue = $1', [queue]))
/** How many more go in, one at a time. */
const roomOf = async (queue: string) => {
  let count = 0
  while ((await engine.sqlstate(`select id from dueq.enqueue($1, '1')`, [queue])) === 'none') count++
  return count
}

it.each([1, 2, 7, 8, 9, 100])('depth: of %i messages each is let in, and not one more', async (maxDepth) => {
  const queue = await limited(maxDepth)
  expect(await roomOf(queue)).toBe(maxDepth)
  expect(await depth(queue)).toBe(maxDepth)
})

it('depth: the refusal says how deep the queue is, its limit, how much room there is, and what to do', async () => {
  const queue = await limited(10)
  await many(queue, 8)
  const error = await many(queue, 3).catch((thrown: unknown) => thrown)
  expect(error).toMatchObject({
    code: 'DQ007',
    message: `queue "${queue}" is full: it holds 8 messages, its max_depth is 10`,
    hint: expect.stringContaining('raise max_depth'),
  })
  expect(JSON.parse((error as { detail: string }).detail)).toMatchObject({
    queue,
    depth: 8,
    max_depth: 10,
    room: 2,
    wanted: 3,
  })
  await expect(many(queue, 11)).rejects.toMatchObject({
    code: 'DQ007',
    message: `11 messages at once are more than queue "${queue}" may hold, whose max_depth is 10`,
    hint: expect.stringContaining('Enqueue fewer at once'),
  })
})

it('depth: enqueue_many has room for all of its messages, or lets in none', async () => {
  const queue = await limited(10)
  await many(queue, 6)
  expect(await refusal(queue, 5)).toBe('DQ007')
  expect(await depth(queue)).toBe(6)
  await many(queue, 4)
  expect(await refusal(queue)).toBe('DQ007')
})

it('depth: delayed, ready, leased and lapsed messages count, dead letters do not', async () => {
  const queue = await limited(4, `, max_attempts => 1, lease => '1 minute'`)
  await engine.rows(`select id from dueq.enqueue($1, '1', priority => -1)`, [queue])
  await engine.dequeue(queue)
  await engine.travel('2 minutes')
  await engine.enqueue(queue, 'priority => -2')
  const [leased] = await engine.dequeue(queue)
  await engine.enqueue(queue)
  await engine.enqueue(queue, `delay => '1 hour'`)
  expect(
    (await engine.rows('select delayed, ready, leased, lapsed from dueq.queue_stats where queue = $1', [queue]))[0],
  ).toEqual({ delayed: '1', ready: '1', leased: '1', lapsed: '1' })
  expect(await refusal(queue)).toBe('DQ007')
  expect(await engine.value('select dueq.nack($1, $2)', [leased!.id, leased!.attempt])).toBe('dead')
  expect(await roomOf(queue)).toBe(1)
})

it.each([
  ['ack', 'select dueq.ack($1, $2)'],
  ['ack_many', 'select id from dueq.ack_many(array[$1::bigint], array[$2::integer])'],
  [
    'poll with an ack',
    'select id from dueq.poll($3, ack_ids => array[$1::bigint], ack_attempts => array[$2::integer])',
  ],
  ['dead_letter', `select dueq.dead_letter($1, $2, 'bad')`],
  ['purge', 'select dueq.purge($3, include_leased => true, max => 1) where $1::bigint <> $2::integer'],
])('depth: %s gives the room of a message back', async (_, text) => {
  const queue = await limited(3)
  await many(queue, 3)
  const [claim] = await engine.dequeue(queue)
  expect(await refusal(queue)).toBe('DQ007')
  await engine.rows(text, [claim!.id, claim!.attempt, queue].slice(0, text.includes('$3') ? 3 : 2))
  expect(await roomOf(queue)).toBe(1)
})

it('depth: cancel gives the room back', async () => {
  const queue = await limited(1)
  const [message] = await one(queue)
  expect(await refusal(queue)).toBe('DQ007')
  await engine.rows('select dueq.cancel($1)', [message!.id])
  expect(await roomOf(queue)).toBe(1)
})

it('depth: a transaction that is rolled back gives its room back, and so does a producer that dies in the middle of one', async () => {
  const queue = await limited(20)
  for (const end of ['rollback', 'close'] as const) {
    const other = await engine.session()
    await other.begin()
    await many(queue, 20, other)
    expect(await refusal(queue, 21, other)).toBe('DQ007')
    if (end === 'close') await engine.rows('select pg_terminate_backend($1)', [other.pid])
    else await other.rollback()
    await other.close().catch(() => {})
    await expect
      .poll(() => engine.value<string>('select count(*) from pg_stat_activity where pid = $1', [other.pid]))
      .toBe('0')
    await many(queue, 20)
    expect(await refusal(queue)).toBe('DQ007')
    await engine.rows('select dueq.purge($1)', [queue])
  }
})

it('depth: what transactions bring that are open while the messages are counted comes on top, and no more than that', async () => {
  const queue = await limited(10)
  await using first = await engine.session()
  await using second = await engine.session()
  await first.begin()
  await many(queue, 6, first)
  await second.begin()
  await many(queue, 3, second)
  // Their tickets are drawn: there is one more, then the messages are counted, and those nine are not seen.
  expect(await roomOf(queue)).toBe(10)
  expect(await depth(queue)).toBe(10)
  await first.commit()
  expect(await depth(queue)).toBe(16)
  expect(await refusal(queue)).toBe('DQ007')
  await second.commit()
  expect(await depth(queue)).toBe(10 + 6 + 3)
  await engine.rows('select dueq.purge($1, max => 9)', [queue])
  expect(await refusal(queue)).toBe('DQ007')
  await engine.rows('select dueq.purge($1, max => 1)', [queue])
  expect(await roomOf(queue)).toBe(1)
})

it('depth: an open transaction that has counted keeps nobody waiting, and what it counted is known to all', async () => {
  const queue = await limited(10)
  await using other = await engine.session()
  await other.begin()
  await many(queue, 10, other)
  await other.sqlstate('savepoint s')
  expect(await refusal(queue, 1, other)).toBe('DQ007')
  await engine.rows(`set lock_timeout = '1ms'`)
  // They see none of its messages, and enter without waiting for any lock.
  expect(await roomOf(queue)).toBe(10)
  await engine.rows('reset lock_timeout')
  await other.rollback()
})

it('depth: a lowered limit refuses until the queue is drained below it, a raised one lets in more', async () => {
  const queue = await limited(10)
  await many(queue, 8)
  await engine.rows('select dueq.create_queue($1, max_depth => 5)', [queue])
  expect(await refusal(queue)).toBe('DQ007')
  await engine.rows('select dueq.purge($1, max => 3)', [queue])
  expect(await refusal(queue)).toBe('DQ007')
  await engine.rows('select dueq.purge($1, max => 2)', [queue])
  expect(await roomOf(queue)).toBe(2)
  await engine.rows('select dueq.create_queue($1, max_depth => 7)', [queue])
  expect(await roomOf(queue)).toBe(2)
})

it('depth: a limit lowered below the depth and raised again counts what it did not need to count before', async () => {
  const queue = await limited(100)
  await many(queue, 90)
  await engine.rows('select dueq.create_queue($1, max_depth => 10)', [queue])
  expect(await refusal(queue)).toBe('DQ007')
  await engine.rows('select dueq.create_queue($1, max_depth => 95)', [queue])
  expect(await roomOf(queue)).toBe(5)
})

it('depth: 0 takes the limit away; set again it counts what came meanwhile', async () => {
  const queue = await limited(3)
  await many(queue, 3)
  expect(await engine.value('select dueq.create_queue($1, max_depth => 0)', [queue])).toBe('changed')
  expect(await engine.value('select dueq.create_queue($1, max_depth => 0)', [queue])).toBe('unchanged')
  await many(queue, 50)
  expect(await engine.value('select dueq.create_queue($1, max_depth => 55)', [queue])).toBe('changed')
  expect(await engine.value('select dueq.create_queue($1)', [queue])).toBe('unchanged')
  expect(await roomOf(queue)).toBe(2)
})

it('depth: a limit for a queue that has messages counts those', async () => {
  const queue = await engine.queue()
  await many(queue, 7)
  await engine.rows('select dueq.create_queue($1, max_depth => 10)', [queue])
  expect(await roomOf(queue)).toBe(3)
})

it('depth: a live dedup key needs no room, so an enqueue can be repeated safely at a full queue', async () => {
  const queue = await limited(2)
  const id = await engine.enqueue(queue, `dedup_key => 'a'`)
  await engine.enqueue(queue, `dedup_key => 'b'`)
  expect(await engine.rows(`select id, created from dueq.enqueue($1, '2', dedup_key => 'a')`, [queue])).toEqual([
    { id, created: false },
  ])
  const keyed = `select id from dueq.enqueue_many($1, array_fill('1'::jsonb, array[3]), dedup_keys => $2)`
  expect(await engine.rows(keyed, [queue, ['a', 'b', 'a']])).toHaveLength(3)
  expect(await engine.sqlstate(keyed, [queue, ['a', 'b', 'c']])).toBe('DQ007')
  await engine.rows('select dueq.cancel($1)', [id])
  // Three of one key are one message.
  expect(await engine.rows(keyed, [queue, ['c', 'c', 'c']])).toHaveLength(3)
  expect(await refusal(queue)).toBe('DQ007')
})

it('depth: redrive is never refused, and what it adds counts', async () => {
  const queue = await limited(2, ', max_attempts => 1')
  await many(queue, 2)
  for (const { id, attempt } of await engine.dequeue(queue, 2))
    await engine.rows('select dueq.nack($1, $2)', [id, attempt])
  await many(queue, 2)
  expect(await engine.rows('select id from dueq.redrive($1)', [queue])).toHaveLength(2)
  expect(await depth(queue)).toBe(4)
  await engine.rows('select dueq.purge($1, max => 2)', [queue])
  expect(await refusal(queue)).toBe('DQ007')
})

it('depth: what no room would help is said of a full queue too', async () => {
  const queue = await limited(1)
  await one(queue)
  expect(await engine.sqlstate(`select id from dueq.enqueue($1, '1', priority => 101)`, [queue])).toBe('DQ002')
  expect(await engine.sqlstate(`select id from dueq.enqueue_many($1, '{1}', delays => '{-1 second}')`, [queue])).toBe(
    'DQ002',
  )
})

it('depth: a queue is limited by its own messages only', async () => {
  const [queue, other] = [await limited(3), await limited(3)]
  const unlimited = await engine.queue()
  await many(other, 3)
  await many(unlimited, 10)
  expect(await roomOf(queue)).toBe(3)
})

it('depth: above READ COMMITTED a transaction counts what its snapshot sees, for itself alone', async () => {
  const queue = await limited(5)
  await using other = await engine.session()
  await other.begin('repeatable read')
  await other.rows('select from dueq.messages')
  await many(queue, 5)
  await many(queue, 5, other)
  expect(await refusal(queue)).toBe('DQ007')
  expect(await refusal(queue, 1, other)).toBe('DQ007')
  await other.rollback()
  expect(await refusal(queue)).toBe('DQ007')
})

it('depth: a held snapshot changes neither what is let in nor what is refused', async () => {
  const queue = await limited(50)
  await using holder = await engine.session()
  await holder.begin('repeatable read')
  await holder.rows('select from dueq.messages')
  for (let i = 0; i < 20; i++) {
    await many(queue, 50)
    expect(await refusal(queue)).toBe('DQ007')
    expect(await engine.value('select dueq.purge($1)', [queue])).toBe('50')
  }
  expect(await roomOf(queue)).toBe(50)
})

it('depth: a full queue is not counted again before its pause is over; the refusal says how long that is', async () => {
  const queue = await limited(5)
  await many(queue, 5)
  expect(await refusal(queue)).toBe('DQ007')
  const pauseFor = (interval: string) =>
    engine.rows(
      `select setval(('dueq.depth_pause_' || q.id)::regclass, (extract(epoch from dueq.clock() + $2::interval) * 1000000)::bigint)
         from dueq.queues q where q.name = $1`,
      [queue, interval],
    )
  const againMs = async () => {
    const { detail } = (await one(queue).catch((thrown: unknown) => thrown)) as { readonly detail: string }
    return (JSON.parse(detail) as { readonly again_ms: number }).again_ms
  }
  expect(await againMs()).toBe(0)
  await pauseFor('5 seconds')
  await engine.rows('select dueq.purge($1, max => 1)', [queue])
  expect(await againMs()).toBe(5000)
  await engine.travel('4999 milliseconds')
  expect(await againMs()).toBe(1)
  await engine.travel('1 millisecond')
  expect(await roomOf(queue)).toBe(1)
  // No pause is longer than 10 s: the clock stepped back.
  await pauseFor('1 hour')
  await engine.rows('select dueq.purge($1, max => 1)', [queue])
  expect(await roomOf(queue)).toBe(1)
})

it('depth: while counting a full queue takes long, it takes a twentieth of the time at most', async () => {
  await using running = await startEngine()
  const queue = await running.queue('max_depth => 5000')
  await running.rows(`select count(*) from dueq.enqueue_many($1, array_fill('1'::jsonb, array[5000]))`, [queue])
  await running.unfreeze()
  const before = Date.now()
  const { detail } = (await running
    .rows(`select id from dueq.enqueue($1, '1')`, [queue])
    .catch((thrown: unknown) => thrown)) as {
    readonly detail: string
  }
  const { again_ms: againMs } = JSON.parse(detail) as { readonly again_ms: number }
  expect(againMs).toBeGreaterThan(0)
  expect(againMs).toBeLessThanOrEqual(Math.min(20 * (Date.now() - before + 1), 10_000))
})

it('depth: a dropped queue takes its sequences along', async () => {
  const queue = await limited(3)
  const sequences = `select count(*) from pg_class where relname like 'depth\\_%' and relnamespace = $1::regnamespace`
  const before = Number(await engine.value(sequences, [engine.schema]))
  await engine.rows('select dueq.drop_queue($1)', [queue])
  expect(Number(await engine.value(sequences, [engine.schema]))).toBe(before - 3)
})

it('depth: two sessions that set the first limit of a queue agree', async () => {
  const queue = await engine.queue()
  await using other = await engine.session()
  await other.begin()
  await other.rows('select dueq.create_queue($1, max_depth => 3)', [queue])
  const second = engine.value('select dueq.create_queue($1, max_depth => 4)', [queue])
  await other.commit()
  expect(await second).toBe('changed')
  expect(await roomOf(queue)).toBe(4)
})

it.each(['max_depth => -1', 'max_depth => 100000001', 'max_payload_bytes => 0', 'max_payload_bytes => 67108865'])(
  'depth: %s is refused with DQ002',
  async (args) => {
    expect(await engine.sqlstate(`select dueq.create_queue('refused', ${args})`)).toBe('DQ002')
  },
)

it('depth: 16 sessions that enqueue at once go above the limit by no more than themselves', async () => {
  const queue = await limited(300)
  const sessions = await Promise.all(Array.from({ length: 16 }, () => engine.session()))
  let highest = 0
  let isOver = false
  const watching = (async () => {
    while (!isOver) highest = Math.max(highest, await depth(queue))
  })()
  const outcomes = await Promise.all(
    sessions.map(async (session) => {
      const counts = { none: 0, DQ007: 0 } as Record<string, number>
      for (let i = 0; i < 60; i++) {
        const outcome = await session.sqlstate(`select id from dueq.enqueue($1, '1')`, [queue])
        counts[outcome] = (counts[outcome] ?? 0) + 1
        if (i % 20 === 19) await session.rows('select dueq.purge($1, max => 5)', [queue])
      }
      await session.close()
      return counts
    }),
  )
  isOver = true
  await watching
  for (const counts of outcomes) expect(Object.keys(counts)).toEqual(['none', 'DQ007'])
  expect(outcomes.reduce((sum, counts) => sum + counts['DQ007']!, 0)).toBeGreaterThan(0)
  expect(highest).toBeGreaterThan(280)
  expect(highest).toBeLessThanOrEqual(300 + 16)
})

it('payload limit: a queue may allow less than 1 MB, or more, and says its limit', async () => {
  const small = await engine.queue('max_payload_bytes => 10')
  const json = (bytes: number) => JSON.stringify('x'.repeat(bytes - 2))
  const enqueue = 'select id from dueq.enqueue($1, $2)'
  expect(await engine.rows(enqueue, [small, json(10)])).toHaveLength(1)
  await expect(engine.rows(enqueue, [small, json(11)])).rejects.toMatchObject({
    code: 'DQ003',
    message: 'payload has 11 bytes of JSON, the limit is 10',
  })
  const keyed = `select id from dueq.enqueue($1, $2, dedup_key => 'k')`
  expect(await engine.sqlstate(keyed, [small, json(11)])).toBe('DQ003')
  const several = 'select id from dueq.enqueue_many($1, array[$2, $3]::jsonb[])'
  await expect(engine.rows(several, [small, json(10), json(11)])).rejects.toMatchObject({
    code: 'DQ003',
    message: expect.stringMatching(/^message 2 of 2: payload has 11 bytes of JSON, the limit is 10$/),
  })
  expect(await engine.sqlstate(`${several.slice(0, -1)}, priorities => '{1,2}')`, [small, json(10), json(11)])).toBe(
    'DQ003',
  )
  expect(await engine.sqlstate(enqueue, [await engine.queue(), json(1_048_577)])).toBe('DQ003')
  const large = await engine.queue('max_payload_bytes => 2000000')
  expect(await engine.rows(enqueue, [large, json(2_000_000)])).toHaveLength(1)
  expect(await engine.sqlstate(enqueue, [large, json(2_000_001)])).toBe('DQ003')
})
