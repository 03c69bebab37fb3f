import { afterAll, beforeAll, expect, it } from 'vitest'
import { type Engine, startEngine } from './engine.js'

let engine: Engine
beforeAll(async () => {
  engine = await startEngine()
})
afterAll(() => engine.close())

/** Nothing comes until the interval has passed to the microsecond; then the message does. */
async function expectReadyAfter(queue: string, interval: string) {
  expect(await engine.dequeue(queue)).toEqual([])
  await engine.travel(interval)
  await engine.travel('-1 microsecond')
  expect(await engine.dequeue(queue)).toEqual([])
  await engine.travel('1 microsecond')
  expect(await engine.dequeue(queue)).toHaveLength(1)
}

it('promise 1: a message is not handed out before its delay has passed', async () => {
  const queue = await engine.queue()
  await engine.enqueue(queue, `delay => '10 minutes'`)
  await expectReadyAfter(queue, '10 minutes')
})

it('promise 1: nor before the instant it is due at', async () => {
  const queue = await engine.queue()
  await engine.enqueue(queue, `at => dueq.clock() + interval '3 days'`)
  await expectReadyAfter(queue, '3 days')
})

it('promise 1: nor does enqueue_many change that', async () => {
  const queue = await engine.queue()
  await engine.rows(
    `select id from dueq.enqueue_many($1, array['1', '2']::jsonb[],
       delays => array['1 hour', null]::interval[], ats => array[null, dueq.clock() + interval '1 hour'])`,
    [queue],
  )
  await engine.travel('1 hour -1 microsecond')
  expect(await engine.dequeue(queue, 10)).toEqual([])
  await engine.travel('1 microsecond')
  expect(await engine.dequeue(queue, 10)).toHaveLength(2)
})

it('promise 1: a retry is not handed out before the end of the back-off', async () => {
  const queue = await engine.queue()
  const id = await engine.enqueue(queue)
  await engine.dequeue(queue)
  await engine.rows('select dueq.nack($1, 1)', [id])
  const backOff = await engine.value<string>(
    'select (ready_at - dueq.clock())::text from dueq.message_states where id = $1',
    [id],
  )
  await expectReadyAfter(queue, backOff)
})

it('promise 1: a nacked message is not handed out before the delay that its consumer asked for', async () => {
  const queue = await engine.queue()
  const id = await engine.enqueue(queue)
  await engine.dequeue(queue)
  await engine.rows(`select dueq.nack($1, 1, 'later', delay => '2 hours')`, [id])
  await expectReadyAfter(queue, '2 hours')
})

it('promise 1: a released message is not handed out before its delay has passed', async () => {
  const queue = await engine.queue()
  const id = await engine.enqueue(queue)
  await engine.dequeue(queue)
  await engine.rows(`select dueq.release($1, 1, delay => '1 minute')`, [id])
  await expectReadyAfter(queue, '1 minute')
})

it.each([
  ['delay', `delay => '1 day'`],
  ['instant', `at => dueq.clock() + interval '1 day'`],
])('promise 1: a rescheduled message is not handed out before its new %s', async (_, args) => {
  const queue = await engine.queue()
  const id = await engine.enqueue(queue)
  expect(await engine.value(`select dueq.reschedule($1, ${args})`, [id])).toBe('rescheduled')
  await expectReadyAfter(queue, '1 day')
})

it('promise 1: a leased message is not handed out before the end of its lease, nor of its extended lease', async () => {
  const queue = await engine.queue(`lease => '1 minute'`)
  const id = await engine.enqueue(queue)
  await engine.dequeue(queue)
  await engine.travel('30 seconds')
  await engine.rows(`select dueq.extend($1, 1, '1 minute')`, [id])
  await expectReadyAfter(queue, '1 minute')
})

it('promise 1: a message due in the past is ready at once', async () => {
  const queue = await engine.queue()
  await engine.enqueue(queue, `at => '1999-12-31 23:59:59+00'`)
  expect(await engine.dequeue(queue)).toHaveLength(1)
})

it('promise 8: a delay of a day is 24 hours, also across a clock change in the TimeZone of the caller', async () => {
  const queue = await engine.queue()
  const session = await engine.session()
  await session.rows(`set timezone = 'Europe/Berlin'`)
  for (let day = 0; day < 366; day++) {
    await session.rows(`select id from dueq.enqueue($1, '1', delay => '1 day')`, [queue])
    await session.rows(
      `select id from dueq.enqueue_many($1, array['2']::jsonb[], delays => array['1 day']::interval[])`,
      [queue],
    )
    await engine.travel('24 hours')
  }
  const found = await session.rows(
    `select distinct extract(epoch from m.due_at - m.enqueued_at)::integer as seconds
       from dueq.messages m join dueq.queues q on q.id = m.queue_id where q.name = $1`,
    [queue],
  )
  expect(found).toEqual([{ seconds: 86_400 }])
})
