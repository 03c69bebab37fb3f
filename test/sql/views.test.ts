import { afterAll, beforeAll, expect, it } from 'vitest'
import { type Engine, startEngine } from './engine.js'

let engine: Engine
beforeAll(async () => {
  engine = await startEngine()
})
afterAll(() => engine.close())

const statesOf = (queue: string) =>
  engine.rows(
    'select id, state, leased_by is not null as "isHeld" from dueq.message_states where queue = $1 order by id',
    [queue],
  )

const statsOf = async (queue: string) =>
  (
    await engine.rows(
      `select delayed, ready, leased, lapsed, dead, ready_for::text, (next_ready_at - dueq.clock())::text as next,
              paused_at is not null as "isPaused"
         from dueq.queue_stats where queue = $1`,
      [queue],
    )
  )[0]

const none = { delayed: '0', ready: '0', leased: '0', lapsed: '0', dead: '0', ready_for: null, next: null }

it('inspection: message_states names each state a message can be in, while time passes', async () => {
  const queue = await engine.queue(`lease => '1 minute'`)
  const leased = await engine.enqueue(queue)
  await engine.dequeue(queue)
  const ready = await engine.enqueue(queue)
  const delayed = await engine.enqueue(queue, `delay => '1 minute'`)
  expect(await statesOf(queue)).toEqual([
    { id: leased, state: 'leased', isHeld: true },
    { id: ready, state: 'ready', isHeld: false },
    { id: delayed, state: 'delayed', isHeld: false },
  ])
  await engine.travel('1 minute')
  expect(await statesOf(queue)).toEqual([
    { id: leased, state: 'lapsed', isHeld: true },
    { id: ready, state: 'ready', isHeld: false },
    { id: delayed, state: 'ready', isHeld: false },
  ])
})

it('inspection: message_states agrees with dequeue on what may be handed out', async () => {
  const queue = await engine.queue()
  await engine.enqueue(queue, `delay => '1 second'`)
  for (const [interval, state, count] of [
    ['999999 microseconds', 'delayed', 0],
    ['1 microsecond', 'ready', 1],
  ] as const) {
    await engine.travel(interval)
    expect(await statesOf(queue)).toMatchObject([{ state }])
    expect(await engine.dequeue(queue)).toHaveLength(count)
  }
})

it('inspection: queue_stats counts each state, and says for how long the oldest message has been ready', async () => {
  const queue = await engine.queue(`lease => '10 seconds'`)
  expect(await statsOf(queue)).toEqual({ ...none, isPaused: false })
  await engine.enqueue(queue)
  await engine.dequeue(queue)
  await engine.travel('30 seconds')
  await engine.rows(
    `select id from dueq.enqueue_many($1, array['1', '2', '3']::jsonb[], priorities => array[-1, -1, 1])`,
    [queue],
  )
  await engine.rows(`select dueq.dead_letter(id, attempt, 'test') from dueq.dequeue($1, 1)`, [queue])
  await engine.dequeue(queue, 1)
  await engine.enqueue(queue, `delay => '1 hour'`)
  await engine.travel('5 seconds')
  await engine.rows('select dueq.pause_queue($1)', [queue])
  expect(await statsOf(queue)).toEqual({
    delayed: '1',
    ready: '1',
    leased: '1',
    lapsed: '1',
    dead: '1',
    ready_for: '00:00:25',
    next: '-00:00:25',
    isPaused: true,
  })
})

it('inspection: queue_stats has a row for every queue, dead letters alone included', async () => {
  const queue = await engine.queue()
  await engine.enqueue(queue)
  await engine.rows(`select dueq.dead_letter(id, attempt, 'test') from dueq.dequeue($1)`, [queue])
  expect(await statsOf(queue)).toEqual({ ...none, dead: '1', isPaused: false })
  expect(
    await engine.value('select (select count(*) from dueq.queue_stats) = (select count(*) from dueq.queues)'),
  ).toBe(true)
})

it('inspection: next_ready_at is the earliest over all levels, leases included, and null for an empty queue', async () => {
  const queue = await engine.queue(`lease => '1 minute'`)
  const next = () => engine.value('select (dueq.next_ready_at($1) - dueq.clock())::text', [queue])
  expect(await next()).toBeNull()
  await engine.enqueue(queue, `delay => '2 minutes'`)
  expect(await next()).toBe('00:02:00')
  await engine.enqueue(queue, `priority => 9, delay => '1 second'`)
  expect(await next()).toBe('00:00:01')
  await engine.travel('2 seconds')
  expect(await next()).toBe('-00:00:01')
  await engine.dequeue(queue)
  expect(await next()).toBe('00:01:00')
})

it('inspection: the clock is read once for all rows of a view', async () => {
  const queue = await engine.queue()
  await engine.rows(`select id from dueq.enqueue_many($1, array_fill('1'::jsonb, array[100]))`, [queue])
  await engine.rows(`set track_functions = 'all'`)
  const calls = () => engine.value(`select pg_stat_get_xact_function_calls('dueq.clock'::regproc)`)
  for (const view of ['message_states', 'queue_stats']) {
    await engine.begin()
    const before = Number(await calls())
    await engine.rows(`select * from dueq.${view}`)
    expect(Number(await calls()) - before, view).toBe(1)
    await engine.rollback()
  }
})
