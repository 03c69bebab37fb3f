// The form of enqueue_many that clients use: it takes, gives and refuses the same.
import { afterAll, beforeAll, expect, it } from 'vitest'
import { type Engine, sqlstateOf, startEngine } from './engine.js'

let engine: Engine
beforeAll(async () => {
  engine = await startEngine()
})
afterAll(() => engine.close())

const plain = '_enqueue_many_plain(queue => $1, payloads => $2::text::jsonb, wake => true)'
const enqueue = (queue: string, payloads: string, session: Pick<Engine, 'rows'> = engine) =>
  session.rows<{ id: string }>(`select id from unnest(dueq.${plain}) with ordinality as e (id, n) order by n`, [
    queue,
    payloads,
  ])
const stored = (queue: string) =>
  engine.rows('select id, payload from dueq.message_states where queue = $1 order by id', [queue])

it.each(['read committed', 'repeatable read', 'serializable'] as const)(
  'promise 2a: the ids are in the order of the payloads, which are any JSON (%s)',
  async (isolation) => {
    const queue = await engine.queue()
    await using session = await engine.session()
    await session.begin(isolation)
    const payloads = [7, null, 'a', [[], 'b'], { c: [null] }, true, []]
    const rows = await enqueue(queue, JSON.stringify(payloads), session)
    await session.commit()
    expect(await stored(queue)).toEqual(rows.map(({ id }, i) => ({ id, payload: payloads[i] })))
    expect(rows).toHaveLength(payloads.length)
  },
)

it('limits: together they may be larger than one may be; one that is too large is named, and nothing is enqueued', async () => {
  const queue = await engine.queue()
  const large = 'x'.repeat(1_048_574)
  expect(await enqueue(queue, JSON.stringify([large, 1, large]))).toHaveLength(3)
  // Short on the way, and long as it is stored: a digit for each power of ten.
  for (const tooLarge of [`"${large}x"`, `[${Array(9).fill('1e131000')}]`]) {
    const failing = enqueue(queue, `[1, 2, ${tooLarge}]`)
    await expect(failing).rejects.toThrow('message 3 of 3: payload has')
    expect(await sqlstateOf(failing)).toBe('DQ003')
  }
  expect(await stored(queue)).toHaveLength(3)
})

it('an unknown queue is refused, and no messages are none', async () => {
  expect(await sqlstateOf(enqueue('unknown', '[1]'))).toBe('DQ001')
  expect(await enqueue(await engine.queue(), '[]')).toEqual([])
})
