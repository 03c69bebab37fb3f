import { afterAll, beforeAll, expect, it } from 'vitest'
import { type Engine, startEngine } from './engine.js'

let engine: Engine
beforeAll(async () => {
  engine = await startEngine()
})
afterAll(() => engine.close())

const settings = async (queue: string) =>
  (
    await engine.rows(
      `select lease::text, max_attempts, backoff_base::text, backoff_max::text, poll_interval::text, paused_at
         from dueq.queue_settings where queue = $1`,
      [queue],
    )
  )[0]

const defaults = {
  lease: '00:00:30',
  max_attempts: 20,
  backoff_base: '00:00:01',
  backoff_max: '00:15:00',
  poll_interval: '00:00:05',
  paused_at: null,
}

it('settings: create_queue creates, changes what is given, and says which', async () => {
  expect(await engine.value(`select dueq.create_queue('a')`)).toBe('created')
  expect(await settings('a')).toEqual(defaults)
  expect(await engine.value(`select dueq.create_queue('a')`)).toBe('unchanged')
  expect(await engine.value(`select dueq.create_queue('a', lease => '30 seconds', max_attempts => 20)`)).toBe(
    'unchanged',
  )
  expect(await engine.value(`select dueq.create_queue('a', lease => '1 minute')`)).toBe('changed')
  expect(await engine.value(`select dueq.create_queue('a', max_attempts => 5, poll_interval => '1 hour')`)).toBe(
    'changed',
  )
  expect(await settings('a')).toEqual({ ...defaults, lease: '00:01:00', max_attempts: 5, poll_interval: '01:00:00' })
})

it('settings: one of the two back-off settings moves the default of the other along', async () => {
  await engine.rows(`select dueq.create_queue('slow', backoff_base => '1 hour')`)
  expect(await settings('slow')).toMatchObject({ backoff_base: '01:00:00', backoff_max: '01:00:00' })
  await engine.rows(`select dueq.create_queue('fast', backoff_max => '100 milliseconds')`)
  expect(await settings('fast')).toMatchObject({ backoff_base: '00:00:00.1', backoff_max: '00:00:00.1' })
})

it.each([
  `lease => '999 milliseconds'`,
  `lease => '12 hours 1 microsecond'`,
  `lease => '-1 minute'`,
  `max_attempts => 0`,
  `max_attempts => 1001`,
  `backoff_base => '-1 second'`,
  `backoff_base => '1 day 1 second'`,
  `backoff_max => '-1 second'`,
  `backoff_max => '31 days'`,
  `backoff_base => '2 minutes', backoff_max => '1 minute'`,
  `backoff_max => '1 millisecond', backoff_base => '1 second'`,
  `poll_interval => '99 milliseconds'`,
  `poll_interval => '61 minutes'`,
])('settings: %s is refused with DQ002, for a new queue and for an old one', async (args) => {
  expect(await engine.sqlstate(`select dueq.create_queue('refused', ${args})`)).toBe('DQ002')
  expect(await settings('refused')).toBeUndefined()
  const queue = await engine.queue()
  expect(await engine.sqlstate(`select dueq.create_queue('${queue}', ${args})`)).toBe('DQ002')
  expect(await settings(queue)).toEqual(defaults)
})

it('settings: a setting that does not fit the stored ones is refused', async () => {
  const queue = await engine.queue()
  expect(await engine.sqlstate('select dueq.create_queue($1, backoff_base => $2)', [queue, '16 minutes'])).toBe('DQ002')
  expect(await engine.sqlstate('select dueq.create_queue($1, backoff_max => $2)', [queue, '1 millisecond'])).toBe(
    'DQ002',
  )
  expect(await settings(queue)).toEqual(defaults)
})

it.each(['a', '0', '_', 'Mails_2', 'eu.mails:urgent/retry-1', 'x'.repeat(120)])(
  'settings: %s is a name',
  async (name) => {
    expect(await engine.sqlstate('select dueq.create_queue($1)', [name])).toBe('none')
  },
)

it.each([null, '', ' ', '-a', '.a', ':a', '/a', 'a b', 'a\n', '\na', 'a"', "a'", 'é', 'x'.repeat(121)])(
  'settings: %j is no name, DQ005',
  async (name) => {
    expect(await engine.sqlstate('select dueq.create_queue($1)', [name])).toBe('DQ005')
  },
)

it.each([
  `select id from dueq.enqueue($1, '1')`,
  `select id from dueq.enqueue_many($1, array['1']::jsonb[])`,
  'select id from dueq.dequeue($1)',
  'select id from dueq.poll($1)',
  'select dueq.pause_queue($1)',
  'select dueq.resume_queue($1)',
  'select dueq.next_ready_at($1)',
  'select id from dueq.redrive($1)',
  'select dueq.purge($1)',
  'select dueq.purge_dead($1)',
  'select dueq.drop_queue($1)',
])('settings: %s of an unknown queue fails with DQ001', async (text) => {
  for (const queue of ['unknown', '', null]) expect(await engine.sqlstate(text, [queue])).toBe('DQ001')
})

it('settings: two sessions that create one queue agree', async () => {
  await using other = await engine.session()
  await other.begin()
  expect(await other.value(`select dueq.create_queue('both', lease => '1 minute')`)).toBe('created')
  const second = engine.value(`select dueq.create_queue('both', lease => '2 minutes')`)
  await other.commit()
  expect(await second).toBe('changed')
  expect(await settings('both')).toMatchObject({ lease: '00:02:00' })
})
