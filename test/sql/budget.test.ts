import { afterAll, beforeAll, expect, it } from 'vitest'
import { type Engine, startEngine } from './engine.js'

let engine: Engine
beforeAll(async () => {
  engine = await startEngine()
})
afterAll(() => engine.close())

const costOf = async (id: string) =>
  (await engine.rows('select attempt, failures, lapses from dueq.message_states where id = $1', [id]))[0]

const deadOf = async (id: string) =>
  (
    await engine.rows('select reason, attempt, failures, lapses, last_error from dueq.dead_messages where id = $1', [
      id,
    ])
  )[0]

it('promise 3g: giving a message back costs nothing, however often', async () => {
  const queue = await engine.queue('max_attempts => 2')
  const id = await engine.enqueue(queue)
  for (let attempt = 1; attempt <= 50; attempt++) {
    expect(await engine.dequeue(queue)).toEqual([{ id, attempt }])
    expect(await engine.value<boolean>('select dueq.release($1, $2)', [id, attempt])).toBe(true)
  }
  expect(await costOf(id)).toEqual({ attempt: 50, failures: 0, lapses: 0 })
})

it('promise 3g: a nack costs one failure, and the last one allowed leads to the dead letters', async () => {
  const queue = await engine.queue('max_attempts => 3')
  const id = await engine.enqueue(queue)
  for (const [attempt, outcome] of [
    [1, 'retry'],
    [2, 'retry'],
    [3, 'dead'],
  ]) {
    expect(await engine.dequeue(queue)).toEqual([{ id, attempt }])
    expect(await engine.value('select dueq.nack($1, $2, $3)', [id, attempt, `error ${attempt}`])).toBe(outcome)
    await engine.travel('1 hour')
  }
  expect(await deadOf(id)).toEqual({ reason: 'exhausted', attempt: 3, failures: 3, lapses: 0, last_error: 'error 3' })
})

it('promise 3g: a lapse costs one failure, counted when the message is dequeued again', async () => {
  const queue = await engine.queue(`lease => '1 minute'`)
  const id = await engine.enqueue(queue)
  await engine.dequeue(queue)
  await engine.travel('1 minute')
  expect(await costOf(id)).toEqual({ attempt: 1, failures: 0, lapses: 0 })
  await engine.dequeue(queue)
  expect(await costOf(id)).toEqual({ attempt: 2, failures: 1, lapses: 1 })
  expect(await engine.value('select last_error from dueq.message_states where id = $1', [id])).toMatch(
    /^the lease of attempt 1, held by pid \d+, lapsed$/,
  )
})

it('promise 3g: a message that only crashes its consumers dies after max_attempts of them', async () => {
  const queue = await engine.queue(`lease => '1 minute', max_attempts => 3`)
  const id = await engine.enqueue(queue)
  for (const attempt of [1, 2, 3]) {
    expect(await engine.dequeue(queue)).toEqual([{ id, attempt }])
    await engine.travel('1 minute')
  }
  expect(await engine.dequeue(queue)).toEqual([])
  expect(await deadOf(id)).toMatchObject({ reason: 'lapsed', attempt: 3, failures: 3, lapses: 3 })
})

it('promise 3g: nacks and lapses share the budget', async () => {
  const queue = await engine.queue(`lease => '1 minute', max_attempts => 3`)
  const id = await engine.enqueue(queue)
  await engine.dequeue(queue)
  await engine.rows(`select dueq.nack($1, 1, 'first')`, [id])
  await engine.travel('1 minute')
  await engine.dequeue(queue)
  await engine.travel('1 minute')
  expect(await engine.dequeue(queue)).toEqual([{ id, attempt: 3 }])
  expect(await engine.value(`select dueq.nack($1, 3)`, [id])).toBe('dead')
  expect(await deadOf(id)).toMatchObject({ reason: 'exhausted', attempt: 3, failures: 3, lapses: 1 })
})

it('promise 3g: with a budget of one there is one attempt', async () => {
  const queue = await engine.queue(`lease => '1 minute', max_attempts => 1`)
  const nacked = await engine.enqueue(queue)
  await engine.dequeue(queue)
  expect(await engine.value('select dueq.nack($1, 1)', [nacked])).toBe('dead')
  const crashing = await engine.enqueue(queue)
  await engine.dequeue(queue)
  await engine.travel('1 minute')
  expect(await engine.dequeue(queue)).toEqual([])
  expect(await deadOf(crashing)).toMatchObject({ reason: 'lapsed', attempt: 1, failures: 1 })
})

it('promise 3g: extending and settling after a lapse that nobody noticed costs nothing', async () => {
  const queue = await engine.queue(`lease => '1 minute'`)
  const id = await engine.enqueue(queue)
  await engine.dequeue(queue)
  await engine.travel('2 minutes')
  await engine.rows('select dueq.extend($1, 1)', [id])
  await engine.travel('2 minutes')
  await engine.rows('select dueq.release($1, 1)', [id])
  expect(await costOf(id)).toEqual({ attempt: 1, failures: 0, lapses: 0 })
})

it('promise 3g: a budget that was raised or lowered counts for the messages that are there', async () => {
  const queue = await engine.queue('max_attempts => 1')
  const id = await engine.enqueue(queue)
  await engine.rows('select dueq.create_queue($1, max_attempts => 2)', [queue])
  await engine.dequeue(queue)
  expect(await engine.value('select dueq.nack($1, 1)', [id])).toBe('retry')
})

it('promise 3g: an error text of any length is kept, up to 10,000 characters', async () => {
  const queue = await engine.queue()
  const id = await engine.enqueue(queue)
  await engine.dequeue(queue)
  await engine.rows('select dueq.nack($1, 1, $2)', [id, 'é'.repeat(1_000_000)])
  expect(await engine.value<number>('select length(last_error) from dueq.message_states where id = $1', [id])).toBe(
    10_000,
  )
})
