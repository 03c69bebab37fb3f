import { afterAll, beforeAll, expect, it } from 'vitest'
import { type Engine, startEngine } from './engine.js'

let engine: Engine
beforeAll(async () => {
  engine = await startEngine()
})
afterAll(() => engine.close())

it('promise 5: the message of a crashed consumer is ready again at the end of its lease, to the microsecond', async () => {
  const queue = await engine.queue(`lease => '1 minute'`)
  const id = await engine.enqueue(queue)
  const crashing = await engine.session()
  await crashing.rows('select id from dueq.dequeue($1)', [queue])
  await crashing.close()
  await engine.travel('59.999999 seconds')
  expect(await engine.dequeue(queue)).toEqual([])
  await engine.travel('1 microsecond')
  expect(await engine.dequeue(queue)).toEqual([{ id, attempt: 2 }])
})

it('promise 5: with the lease that its consumer asked for', async () => {
  const queue = await engine.queue(`lease => '1 minute'`)
  const id = await engine.enqueue(queue)
  await engine.rows(`select id from dueq.dequeue($1, lease => '2 hours')`, [queue])
  await engine.travel('119 minutes')
  expect(await engine.dequeue(queue)).toEqual([])
  await engine.travel('1 minute')
  expect(await engine.dequeue(queue)).toEqual([{ id, attempt: 2 }])
})

it('promise 5: a claim whose session died before its commit left the message ready', async () => {
  const queue = await engine.queue()
  const id = await engine.enqueue(queue)
  const crashing = await engine.session()
  await crashing.begin()
  await crashing.rows('select id from dueq.dequeue($1)', [queue])
  await crashing.close()
  await expect.poll(() => engine.dequeue(queue)).toEqual([{ id, attempt: 1 }])
})

it('promise 5: an ack left open in a transaction holds its message, and no other, beyond the lease', async () => {
  const queue = await engine.queue(`lease => '1 minute'`)
  const held = await engine.enqueue(queue)
  const free = await engine.enqueue(queue)
  await engine.dequeue(queue, 2)
  await using idle = await engine.session()
  await idle.begin()
  await idle.rows('select dueq.ack($1, 1)', [held])
  await engine.travel('1 minute')
  expect(await engine.dequeue(queue, 10)).toEqual([{ id: free, attempt: 2 }])
  expect(await engine.dequeue(queue, 10)).toEqual([])
  await idle.rollback()
  expect(await engine.dequeue(queue, 10)).toEqual([{ id: held, attempt: 2 }])
})

it.each(['0 seconds', '999 milliseconds', '12 hours 1 second', '-1 minute'])(
  'promise 5: a lease of %s is refused',
  async (lease) => {
    const queue = await engine.queue()
    const id = await engine.enqueue(queue)
    expect(await engine.sqlstate('select id from dueq.dequeue($1, 1, $2::text::interval)', [queue, lease])).toBe(
      'DQ002',
    )
    await engine.dequeue(queue)
    expect(await engine.sqlstate('select dueq.extend($1, 1, $2::text::interval)', [id, lease])).toBe('DQ002')
    expect(
      await engine.sqlstate('select id from dueq.extend_many(array[$1::bigint], array[1], $2::text::interval)', [
        id,
        lease,
      ]),
    ).toBe('DQ002')
  },
)
