import { afterAll, beforeAll, expect, it } from 'vitest'
import { type Engine, startEngine } from './engine.js'

let engine: Engine
beforeAll(async () => {
  engine = await startEngine()
})
afterAll(() => engine.close())

const verbs = [
  ['cancel', 'select dueq.cancel($1)', 'cancelled'],
  ['reschedule', `select dueq.reschedule($1, delay => '1 hour')`, 'rescheduled'],
] as const

it.each(verbs)('promise 2: %s takes a message up to the moment a consumer has it', async (_, text, done) => {
  const queue = await engine.queue(`lease => '1 minute'`)
  const delayed = await engine.enqueue(queue, `delay => '1 day'`)
  expect(await engine.value(text, [delayed])).toBe(done)
  const ready = await engine.enqueue(queue)
  expect(await engine.value(text, [ready])).toBe(done)
  const leased = await engine.enqueue(queue)
  expect(await engine.dequeue(queue)).toEqual([{ id: leased, attempt: 1 }])
  expect(await engine.value(text, [leased])).toBe('leased')
  await engine.travel('1 minute')
  expect(await engine.value(text, [leased])).toBe(done)
  expect(await engine.value<boolean>('select dueq.ack($1, 1)', [leased])).toBe(false)
})

it.each(verbs)('promise 2: %s says null where the message is gone', async (_, text) => {
  const queue = await engine.queue()
  const id = await engine.enqueue(queue)
  await engine.dequeue(queue)
  await engine.rows('select dueq.ack($1, 1)', [id])
  expect(await engine.value(text, [id])).toBeNull()
  expect(await engine.value(text, [987654321])).toBeNull()
})

it('promise 3: rescheduling a lapsed message counts the lapse, and keeps the attempt', async () => {
  const queue = await engine.queue(`lease => '1 minute'`)
  const id = await engine.enqueue(queue)
  await engine.dequeue(queue)
  await engine.travel('1 minute')
  await engine.rows('select dueq.reschedule($1)', [id])
  expect(await engine.rows('select attempt, failures, lapses from dueq.message_states where id = $1', [id])).toEqual([
    { attempt: 1, failures: 1, lapses: 1 },
  ])
  expect(await engine.dequeue(queue)).toEqual([{ id, attempt: 2 }])
})

it('promise 2: purge deletes what nobody works on, some at a time, and leased messages where told to', async () => {
  const queue = await engine.queue()
  const other = await engine.queue()
  await engine.enqueue(other)
  const leased = await engine.enqueue(queue)
  await engine.dequeue(queue)
  for (let i = 0; i < 5; i++) await engine.enqueue(queue, i % 2 === 0 ? `delay => '1 day'` : '')
  expect(await engine.value('select dueq.purge($1, max => 3)', [queue])).toBe('3')
  expect(await engine.value('select dueq.purge($1)', [queue])).toBe('2')
  expect(await engine.value('select dueq.purge($1)', [queue])).toBe('0')
  expect(await engine.value('select dueq.purge($1, include_leased => true)', [queue])).toBe('1')
  expect(await engine.value<boolean>('select dueq.ack($1, 1)', [leased])).toBe(false)
  expect(await engine.dequeue(other)).toHaveLength(1)
})

async function deadLetters(queue: string, count: number): Promise<readonly string[]> {
  const ids: string[] = []
  for (let i = 0; i < count; i++) ids.push(await engine.enqueue(queue))
  await engine.rows(`select dueq.dead_letter(id, attempt, 'test') from dueq.dequeue($1, $2)`, [queue, count])
  return ids
}

it('promise 2: redrive and purge_dead take the oldest first, or those that are named', async () => {
  const queue = await engine.queue()
  const [a, b, c, d, e] = await deadLetters(queue, 5)
  const redriven = (args: string, params: readonly unknown[] = []) =>
    engine.rows(`select dead_id as id from dueq.redrive($1${args})`, [queue, ...params])
  expect(await redriven(', max => 1')).toEqual([{ id: a }])
  expect(await redriven(', ids => $2', [[d, a, '987654321']])).toEqual([{ id: d }])
  expect(await engine.value('select dueq.purge_dead($1, max => 1)', [queue])).toBe('1')
  expect(await engine.rows('select id from dueq.dead_messages where queue = $1 order by id', [queue])).toEqual([
    { id: c },
    { id: e },
  ])
  expect(await engine.value('select dueq.purge_dead($1, ids => $2)', [queue, [e, b]])).toBe('1')
  expect(await redriven('')).toEqual([{ id: c }])
  expect(await redriven('')).toEqual([])
})

it('promise 7: redriven messages come in the order in which they were enqueued, with or without dedup keys', async () => {
  const queue = await engine.queue()
  const dead: string[] = []
  for (const args of ['', `dedup_key => 'b'`, '', `dedup_key => 'a'`]) dead.push(await engine.enqueue(queue, args))
  await engine.rows(`select dueq.dead_letter(id, attempt, 'test') from dueq.dequeue($1, 4)`, [queue])
  const redriven = await engine.rows('select dead_id, id from dueq.redrive($1)', [queue])
  const oldIds = new Map(redriven.map((row) => [row['id'], row['dead_id']]))
  expect((await engine.dequeue(queue, 4)).map(({ id }) => oldIds.get(id))).toEqual(dead)
})

it('promise 2: redrive and purge_dead leave the dead letters of other queues, even when they are named', async () => {
  const [mine, other] = [await engine.queue(), await engine.queue()]
  const ids = await deadLetters(other, 2)
  expect(await engine.rows('select id from dueq.redrive($1, ids => $2)', [mine, ids])).toEqual([])
  expect(await engine.value('select dueq.purge_dead($1, ids => $2)', [mine, ids])).toBe('0')
  expect(await engine.rows('select id from dueq.redrive($1)', [other])).toHaveLength(2)
})

it('promise 2: of dead letters with one dedup key, redrive takes the oldest, and none while a message has it', async () => {
  const queue = await engine.queue()
  const dead: string[] = []
  for (let i = 0; i < 2; i++) {
    dead.push(await engine.enqueue(queue, `dedup_key => 'k'`))
    await engine.rows(`select dueq.dead_letter(id, attempt, 'test') from dueq.dequeue($1)`, [queue])
  }
  expect(await engine.rows('select dead_id as id from dueq.redrive($1)', [queue])).toEqual([{ id: dead[0] }])
  expect(await engine.rows('select dead_id as id from dueq.redrive($1)', [queue])).toEqual([])
  await engine.rows('select dueq.ack(id, attempt) from dueq.dequeue($1)', [queue])
  expect(await engine.rows('select dead_id as id from dueq.redrive($1)', [queue])).toEqual([{ id: dead[1] }])
})

it('promise 2d: dead letters whose dedup key is taken do not stand in the way of the others', async () => {
  const queue = await engine.queue('max_attempts => 1')
  const die = async (args = '') => {
    const id = await engine.enqueue(queue, args)
    await engine.rows('select dueq.nack(id, attempt) from dueq.dequeue($1)', [queue])
    return id
  }
  for (let n = 0; n < 4; n++) await die(`dedup_key => 'same'`)
  const free = [await die(), await die(), await die()]
  await engine.enqueue(queue, `dedup_key => 'same'`)
  const redriven = await engine.rows<{ dead_id: string }>('select dead_id from dueq.redrive($1, max => 3)', [queue])
  expect(redriven.map(({ dead_id }) => dead_id).sort()).toEqual([...free].sort())
})
