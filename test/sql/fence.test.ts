import { afterAll, beforeAll, expect, it } from 'vitest'
import { type Engine, startEngine } from './engine.js'

let engine: Engine
beforeAll(async () => {
  engine = await startEngine()
})
afterAll(() => engine.close())

/** Every verb that needs a lease, and what it says when it has it and when it has not. */
const verbs = [
  ['ack', 'select dueq.ack($1, $2)', true, false],
  ['nack', `select dueq.nack($1, $2, 'failed')`, 'retry', null],
  ['release', 'select dueq.release($1, $2)', true, false],
  ['dead_letter', `select dueq.dead_letter($1, $2, 'bad')`, true, false],
] as const
const extend = ['extend', `select dueq.extend($1, $2, '1 minute') is not null`, true, false] as const
const ackMany = ['ack_many', `select outcome from dueq.ack_many(array[$1::bigint], array[$2::integer])`] as const
const extendMany = [
  'extend_many',
  `select outcome from dueq.extend_many(array[$1::bigint], array[$2::integer], '1 minute')`,
] as const
const nackMany = [
  'nack_many',
  'select outcome from dueq.nack_many(array[$1::bigint], array[$2::integer])',
  'retry',
  'lost',
] as const
const releaseMany = [
  'release_many',
  'select outcome from dueq.release_many(array[$1::bigint], array[$2::integer])',
  undefined,
  'lost',
] as const
const many = [[...ackMany, undefined, 'lost'], [...extendMany, undefined, 'lost'], nackMany, releaseMany] as const
const all = [...verbs, extend, ...many] as const

const rowOf = (id: string) => engine.rows('select * from dueq.message_states where id = $1', [id])

async function leased(settings = `lease => '1 minute'`): Promise<{ queue: string; id: string }> {
  const queue = await engine.queue(settings)
  const id = await engine.enqueue(queue)
  expect(await engine.dequeue(queue)).toEqual([{ id, attempt: 1 }])
  return { queue, id }
}

it.each(all)(
  'promise 3a: %s of an attempt that another consumer took over is refused',
  async (_, text, __, refused) => {
    const { queue, id } = await leased()
    await engine.travel('1 minute')
    expect(await engine.dequeue(queue)).toEqual([{ id, attempt: 2 }])
    const before = await rowOf(id)
    expect(await engine.value<unknown>(text, [id, 1])).toBe(refused)
    expect(await rowOf(id)).toEqual(before)
    expect(await engine.value<boolean>('select dueq.ack($1, 2)', [id])).toBe(true)
  },
)

it.each(all)('promise 3a: %s of an attempt that never was is refused', async (_, text, __, refused) => {
  const { id } = await leased()
  for (const attempt of [0, 2, -1, null]) expect(await engine.value<unknown>(text, [id, attempt])).toBe(refused)
  expect(await engine.value<unknown>(text, ['987654321', 1])).toBe(refused)
})

it.each(all)('promise 3a: %s of a message that is not leased is refused', async (_, text, __, refused) => {
  const queue = await engine.queue()
  const id = await engine.enqueue(queue)
  expect(await engine.value<unknown>(text, [id, 0])).toBe(refused)
})

it.each([...verbs, nackMany, releaseMany])(
  'promise 3b: after %s nothing settles the same attempt again',
  async (_, text, done) => {
    const { id } = await leased()
    expect(await engine.value<unknown>(text, [id, 1])).toBe(done)
    for (const [, again, , refused] of all) expect(await engine.value<unknown>(again, [id, 1])).toBe(refused)
  },
)

it('promise 3b: after ack_many nothing settles the same attempt again', async () => {
  const { id } = await leased()
  expect(await engine.rows(ackMany[1], [id, 1])).toEqual([])
  for (const [, again, , refused] of all) expect(await engine.value<unknown>(again, [id, 1])).toBe(refused)
})

it.each(all)(
  'promise 3c: %s still counts after the lease has lapsed, while nobody has the message',
  async (...verb) => {
    const [, text, done] = verb
    const { id } = await leased()
    await engine.travel('1 hour')
    expect(await engine.value<unknown>(text, [id, 1])).toBe(done)
  },
)

it('promise 3d: the attempt never decreases, whatever happens to the message', async () => {
  const { queue, id } = await leased()
  const attempts = [1]
  const again = async (text: string) => {
    await engine.rows(text, [id, attempts.at(-1)])
    await engine.travel('1 hour')
    const [claim] = await engine.dequeue(queue)
    attempts.push(claim!.attempt)
  }
  await again('select dueq.release($1, $2)')
  await again('select dueq.nack($1, $2)')
  await again('select dueq.extend($1, $2)')
  await again('select $1::bigint, $2::integer')
  await engine.rows('select dueq.release($1, $2)', [id, attempts.at(-1)])
  await again('select dueq.reschedule($1), $2::integer')
  expect(attempts).toEqual([1, 2, 3, 4, 5, 6])
})

it('promise 3e: redrive gives a new id, so that a consumer from before it finds nothing', async () => {
  const { queue, id } = await leased()
  await engine.rows(`select dueq.dead_letter($1, 1, 'bad')`, [id])
  const redriven = await engine.value('select id from dueq.redrive($1)', [queue])
  expect(redriven).not.toBe(id)
  expect(await engine.dequeue(queue)).toEqual([{ id: redriven, attempt: 1 }])
  for (const [, text, , refused] of all) expect(await engine.value<unknown>(text, [id, 1])).toBe(refused)
})

it('promise 3f: an id stays taken after its message is gone', async () => {
  const { queue, id } = await leased()
  await engine.rows('select dueq.ack($1, 1)', [id])
  expect(BigInt(await engine.enqueue(queue))).toBeGreaterThan(BigInt(id))
})
