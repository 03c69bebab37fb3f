// The form of enqueue_many that clients use: it takes, gives and refuses the same.
import { afterAll, beforeAll, expect, it } from 'vitest'
import { type Engine, sqlstateOf, startEngine } from './engine.js'

let engine: Engine
beforeAll(async () => {
  engine = await startEngine()
})
afterAll(() => engine.close())

type Options = { readonly delays?: readonly number[]; readonly session?: Pick<Engine, 'rows'> }
const plain = '_enqueue_many_plain(queue => $1, payloads => $2::text::jsonb, delays => $3, wake => true)'
const enqueue = (queue: string, payloads: string, { delays, session = engine }: Options = {}) =>
  session.rows<{ id: string }>(`select id from unnest(dueq.${plain}) with ordinality as e (id, n) order by n`, [
    queue,
    payloads,
    delays,
  ])
const stored = (queue: string) =>
  engine.rows(
    'select id, payload, extract(epoch from due_at - enqueued_at)::float8 as delay from dueq.message_states where queue = $1 order by id',
    [queue],
  )

it.each(['read committed', 'repeatable read', 'serializable'] as const)(
  'promise 2a: the ids are in the order of the payloads, which are any JSON (%s)',
  async (isolation) => {
    const queue = await engine.queue()
    await using session = await engine.session()
    await session.begin(isolation)
    const payloads = [7, null, 'a', [[], 'b'], { c: [null] }, true, []]
    const rows = await enqueue(queue, JSON.stringify(payloads), { delays: payloads.map((_, i) => i * 1000), session })
    await session.commit()
    expect(await stored(queue)).toEqual(rows.map(({ id }, i) => ({ id, payload: payloads[i], delay: i })))
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

it('promise 1: delays are milliseconds, to the microsecond, each for its payload; what is out of range is named', async () => {
  const queue = await engine.queue()
  await enqueue(queue, '[1, 2, 3]', { delays: [0, 86_400_000.001, 3_155_760_000_000] })
  expect((await stored(queue)).map(({ delay }) => delay)).toEqual([0, 86_400.000001, 3_155_760_000])
  for (const tooMuch of [-0.001, 3_155_760_000_001]) {
    const failing = enqueue(queue, '[1, 2, 3]', { delays: [0, tooMuch, 0] })
    await expect(failing).rejects.toThrow('message 2 of 3: expected delay to be from 0 to 100 years')
    expect(await sqlstateOf(failing)).toBe('DQ002')
  }
  expect(await stored(queue)).toHaveLength(3)
})

it('an unknown queue is refused, and no messages are none', async () => {
  expect(await sqlstateOf(enqueue('unknown', '[1]'))).toBe('DQ001')
  expect(await enqueue(await engine.queue(), '[]')).toEqual([])
})
