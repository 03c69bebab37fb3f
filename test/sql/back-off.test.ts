import { afterAll, beforeAll, expect, it } from 'vitest'
import { type Engine, startEngine } from './engine.js'

let engine: Engine
beforeAll(async () => {
  engine = await startEngine()
})
afterAll(() => engine.close())

/**
 * The delays in seconds that a nack gives to `count` messages which have failed `failures` times before. The failures are
 * written into the rows: a thousand of them would take a thousand attempts each.
 */
async function delays(settings: string, failures: number, count = 1): Promise<readonly number[]> {
  const queue = await engine.queue(`max_attempts => 1000, ${settings}`)
  await engine.rows(`select id from dueq.enqueue_many($1, array_fill('1'::jsonb, array[$2::integer]))`, [queue, count])
  await engine.rows(
    `update dueq.messages set failures = $2
      where queue_id = (select id from dueq.queues where name = $1)`,
    [queue, failures],
  )
  await engine.rows(`select dueq.nack(id, attempt, 'failed') from dueq.dequeue($1, $2)`, [queue, count])
  const rows = await engine.rows<{ seconds: number }>(
    `select extract(epoch from ready_at - dueq.clock())::float8 as seconds from dueq.message_states where queue = $1`,
    [queue],
  )
  return rows.map(({ seconds }) => seconds)
}

it('promise 1b: the back-off doubles with each failure, and is random in its upper half', async () => {
  for (const [failures, longest] of [
    [0, 1],
    [1, 2],
    [2, 4],
    [7, 128],
  ] as const) {
    const seconds = await delays(`backoff_base => '1 second', backoff_max => '1 hour'`, failures, 400)
    expect(seconds).toHaveLength(400)
    expect(Math.min(...seconds)).toBeGreaterThanOrEqual(longest / 2)
    expect(Math.max(...seconds)).toBeLessThanOrEqual(longest)
    // That 400 samples leave an eighth of the range empty has a probability of 1e-23.
    const eighths = new Set(seconds.map((value) => Math.floor(((value / longest) * 2 - 1) * 8)))
    expect([...eighths].filter((eighth) => eighth < 8).sort()).toEqual([0, 1, 2, 3, 4, 5, 6, 7])
  }
})

it('promise 1b: the back-off is never longer than backoff_max', async () => {
  const seconds = await delays(`backoff_base => '1 second', backoff_max => '10 seconds'`, 4, 100)
  expect(Math.min(...seconds)).toBeGreaterThanOrEqual(5)
  expect(Math.max(...seconds)).toBeLessThanOrEqual(10)
})

it.each([
  ['1 microsecond', '30 days'],
  ['1 second', '15 minutes'],
  ['24 hours', '30 days'],
  ['1 day', '1 month'],
  ['23:59:59.999999', '720 hours'],
])('promise 1b: base %s and maximum %s overflow after no number of failures', async (base, longest) => {
  const settings = `backoff_base => '${base}', backoff_max => '${longest}'`
  const [seconds] = await engine.rows<{ longest: number }>(
    'select extract(epoch from $1::interval)::float8 as longest',
    [longest],
  )
  for (const failures of [30, 31, 62, 63, 64, 500, 998]) {
    const [delay] = await delays(settings, failures)
    expect(delay).toBeGreaterThan(0)
    expect(delay).toBeLessThanOrEqual(seconds!.longest)
    if (failures >= 63) expect(delay).toBeGreaterThanOrEqual(seconds!.longest / 2)
  }
})

it('promise 1b: a base of zero retries at once', async () => {
  expect(await delays(`backoff_base => '0'`, 12)).toEqual([0])
})

it('promise 1b: a delay that is given replaces the back-off, also beyond backoff_max', async () => {
  const queue = await engine.queue(`backoff_max => '1 minute'`)
  const id = await engine.enqueue(queue)
  await engine.dequeue(queue)
  await engine.rows(`select dueq.nack($1, 1, 'closed on weekends', '2 days')`, [id])
  expect(
    await engine.value(
      `select ready_at = dueq.clock() + interval '2 days' and failures = 1 from dueq.message_states where id = $1`,
      [id],
    ),
  ).toBe(true)
})

it.each(['-1 second', '101 years'])('promise 1b: nack refuses a delay of %s', async (delay) => {
  const queue = await engine.queue()
  const id = await engine.enqueue(queue)
  await engine.dequeue(queue)
  expect(await engine.sqlstate(`select dueq.nack($1, 1, 'e', $2::text::interval)`, [id, delay])).toBe('DQ002')
  expect(await engine.sqlstate('select dueq.release($1, 1, $2::text::interval)', [id, delay])).toBe('DQ002')
  expect(await engine.value<boolean>('select dueq.ack($1, 1)', [id])).toBe(true)
})
