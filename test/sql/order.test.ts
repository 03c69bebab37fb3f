import { afterAll, beforeAll, expect, it } from 'vitest'
import { type Engine, startEngine } from './engine.js'

let engine: Engine
beforeAll(async () => {
  engine = await startEngine()
})
afterAll(() => engine.close())

const payloads = async (queue: string, max: number) =>
  (await engine.rows<{ payload: string }>('select payload from dueq.dequeue($1, $2)', [queue, max])).map(
    ({ payload }) => payload,
  )

/** Enqueues one message for each `payload: further arguments`. */
async function enqueueAll(queue: string, messages: Readonly<Record<string, string>>) {
  for (const [payload, args] of Object.entries(messages)) {
    await engine.rows(`select id from dueq.enqueue($1, to_jsonb($2::text)${args && `, ${args}`})`, [queue, payload])
  }
}

const ago = (interval: string) => `at => dueq.clock() - interval '${interval}'`

it('promise 7: messages come in the order of ready_at', async () => {
  const queue = await engine.queue()
  await enqueueAll(queue, { third: ago('1 second'), first: ago('3 seconds'), second: ago('2 seconds') })
  expect(await payloads(queue, 10)).toEqual(['first', 'second', 'third'])
})

it('promise 7: with the same ready_at they come in the order of enqueue', async () => {
  const queue = await engine.queue()
  const names = Array.from({ length: 50 }, (_, i) => `m${i}`)
  await enqueueAll(queue, Object.fromEntries(names.map((name) => [name, ''])))
  expect(await payloads(queue, 20)).toEqual(names.slice(0, 20))
  expect(await payloads(queue, 100)).toEqual(names.slice(20))
})

it('promise 7: a smaller priority comes first, however late the others are', async () => {
  const queue = await engine.queue()
  await enqueueAll(queue, {
    last: `priority => 100, ${ago('1 day')}`,
    'zero, late': ago('1 hour'),
    zero: '',
    'first, late': `priority => -100, ${ago('1 minute')}`,
    first: 'priority => -100',
    'never mind': `priority => -100, delay => '1 hour'`,
  })
  expect(await payloads(queue, 10)).toEqual(['first, late', 'first', 'zero, late', 'zero', 'last'])
})

it('promise 7: a claim that is not filled by one level goes on with the next', async () => {
  const queue = await engine.queue()
  await enqueueAll(queue, { a: 'priority => 1', b: 'priority => 2', c: 'priority => 3', d: 'priority => 3' })
  expect(await payloads(queue, 3)).toEqual(['a', 'b', 'c'])
  expect(await payloads(queue, 3)).toEqual(['d'])
})

it('promise 7: every level from -100 to 100 can be used at once', async () => {
  const queue = await engine.queue()
  await engine.rows(
    `select id from dueq.enqueue_many($1, array(select to_jsonb(-p) from generate_series(-100, 100) p),
       priorities => array(select -p from generate_series(-100, 100) p))`,
    [queue],
  )
  const expected = Array.from({ length: 201 }, (_, i) => i - 100)
  expect(await payloads(queue, 1000)).toEqual(expected)
})

it('promise 7: levels are known from the first message of theirs, so that a queue with one level looks once', async () => {
  const queue = await engine.queue()
  const levels = () =>
    engine.value<number[]>('select priorities::integer[] from dueq.queue_settings where queue = $1', [queue])
  await engine.enqueue(queue)
  expect(await levels()).toEqual([0])
  await engine.enqueue(queue, 'priority => 5')
  await engine.enqueue(queue, 'priority => -5')
  await engine.enqueue(queue, 'priority => 5')
  expect(await levels()).toEqual([-5, 0, 5])
})

it('promise 7: a first message of a level in two transactions at once makes both levels known', async () => {
  const queue = await engine.queue()
  await using other = await engine.session()
  await other.begin()
  await other.rows(`select id from dueq.enqueue($1, '1', priority => 7)`, [queue])
  const second = engine.enqueue(queue, 'priority => 8')
  await other.commit()
  await second
  expect(await engine.dequeue(queue, 10)).toHaveLength(2)
})

it('promise 7: a released message returns to its old place, a delayed release to a new one', async () => {
  const queue = await engine.queue()
  await enqueueAll(queue, { a: ago('3 seconds'), b: ago('2 seconds'), c: ago('1 second') })
  const [a, b] = await engine.dequeue(queue, 2)
  await engine.rows('select dueq.release($1, 1)', [b!.id])
  await engine.rows(`select dueq.release($1, 1, '0')`, [a!.id])
  expect(await payloads(queue, 10)).toEqual(['b', 'c', 'a'])
})

it('promise 7: a lapsed message waits behind those that were ready before its lease ended', async () => {
  const queue = await engine.queue(`lease => '1 minute'`)
  await enqueueAll(queue, { lapsing: '' })
  await engine.dequeue(queue)
  await enqueueAll(queue, { before: `delay => '59 seconds'`, after: `delay => '61 seconds'` })
  await engine.travel('2 minutes')
  expect([await payloads(queue, 1), await payloads(queue, 1), await payloads(queue, 1)]).toEqual([
    ['before'],
    ['lapsing'],
    ['after'],
  ])
})
