import { afterAll, beforeAll, expect, it } from 'vitest'
import { type Engine, sqlstateOf, startEngine } from './engine.js'

let engine: Engine
beforeAll(async () => {
  engine = await startEngine()
})
afterAll(() => engine.close())

const liveCount = (queue: string) => engine.value('select count(*) from dueq.message_states where queue = $1', [queue])

it('promise 2a: enqueue_many returns one row for each payload, in their order', async () => {
  const queue = await engine.queue()
  const rows = await engine.rows<{ ordinality: string; id: string; created: boolean }>(
    `select ordinality, id, created
       from dueq.enqueue_many($1, array(select to_jsonb(i) from generate_series(1, 1000) i))`,
    [queue],
  )
  expect(rows.map(({ ordinality }) => Number(ordinality))).toEqual(Array.from({ length: 1000 }, (_, i) => i + 1))
  expect(rows.every(({ created }) => created)).toBe(true)
  const stored = await engine.rows('select id, payload from dueq.message_states where queue = $1 order by payload', [
    queue,
  ])
  expect(stored).toEqual(rows.map(({ id }, i) => ({ id, payload: i + 1 })))
})

it('promise 2a: each array gives one argument, and a null in it the default', async () => {
  const queue = await engine.queue()
  await engine.rows(
    `select id from dueq.enqueue_many($1, array['1', '2', '3']::jsonb[],
       delays => array[interval '1 minute', null, null],
       ats => array[null, dueq.clock() + interval '2 minutes', null],
       priorities => array[null, 2, -2], dedup_keys => array['a', null, 'b'],
       headers => array['{"h": 1}', null, null]::jsonb[])`,
    [queue],
  )
  expect(
    await engine.rows(
      `select payload, (due_at - dueq.clock())::text as delay, ready_at = due_at as "isReadyWhenDue", priority,
              dedup_key as key, headers
         from dueq.message_states where queue = $1 order by payload`,
      [queue],
    ),
  ).toEqual([
    { payload: 1, delay: '00:01:00', isReadyWhenDue: true, priority: 0, key: 'a', headers: { h: 1 } },
    { payload: 2, delay: '00:02:00', isReadyWhenDue: true, priority: 2, key: null, headers: null },
    { payload: 3, delay: '00:00:00', isReadyWhenDue: true, priority: -2, key: 'b', headers: null },
  ])
})

it('promise 2a: a dedup key that occurs twice is enqueued the first time, whatever the order of the keys', async () => {
  const queue = await engine.queue()
  const rows = await engine.rows<{ id: string; created: boolean }>(
    `select id, created
       from dueq.enqueue_many($1, array['1', '2', '3', '4', '5', '6']::jsonb[],
              dedup_keys => array['z', 'a', null, 'z', 'a', null])
      order by ordinality`,
    [queue],
  )
  expect(rows.map(({ created }) => created)).toEqual([true, true, true, false, false, true])
  expect(rows[3]!.id).toBe(rows[0]!.id)
  expect(rows[4]!.id).toBe(rows[1]!.id)
  expect(
    await engine.rows('select id, payload from dueq.message_states where queue = $1 order by payload', [queue]),
  ).toEqual([
    { id: rows[0]!.id, payload: 1 },
    { id: rows[1]!.id, payload: 2 },
    { id: rows[2]!.id, payload: 3 },
    { id: rows[5]!.id, payload: 6 },
  ])
})

it.each([
  ['a missing payload', `array['1', '2', null]::jsonb[]`, 'DQ002', 'expected payload'],
  ['a priority', `array['1', '2', '3']::jsonb[], priorities => array[null, 1, 101]`, 'DQ002', 'expected priority'],
  [
    'a delay',
    `array['1', '2', '3']::jsonb[], delays => array[null, '1 s', '-1 s']::interval[]`,
    'DQ002',
    'expected delay',
  ],
  [
    'delay and at',
    `array['1', '2', '3']::jsonb[], delays => array[null, null, '1 s']::interval[], ats => array_fill(dueq.clock(), array[3])`,
    'DQ004',
    'both delay and at',
  ],
  [
    'an infinite instant',
    `array['1', '2', '3']::jsonb[], ats => array[null, null, 'infinity']::timestamptz[]`,
    'DQ002',
    'expected at',
  ],
  [
    'a payload that is too large',
    `array['1', '2', to_jsonb(repeat('x', 1048576))]::jsonb[]`,
    'DQ003',
    'payload has 1048578 bytes',
  ],
  [
    'an empty dedup key',
    `array['1', '2', '3']::jsonb[], dedup_keys => array['a', null, '']`,
    'DQ002',
    'expected dedup_key',
  ],
  [
    'headers',
    `array['1', '2', '3']::jsonb[], headers => array[null, '{}', '[]']::jsonb[]`,
    'DQ002',
    'expected headers',
  ],
])('promise 2a: with %s out of range nothing is enqueued, and the error names the position', async (...row) => {
  const [, args, code, message] = row
  const queue = await engine.queue()
  const failing = engine.rows(`select id from dueq.enqueue_many($1, ${args})`, [queue])
  await expect(failing).rejects.toThrow(`message 3 of 3: ${message}`)
  expect(await sqlstateOf(failing)).toBe(code)
  expect(await liveCount(queue)).toBe('0')
})

it.each([
  ['delays', `array['1 s', '2 s']::interval[]`],
  ['ats', 'array[dueq.clock()]'],
  ['priorities', 'array[1, 2, 3, 4]'],
  ['dedup_keys', `'{}'`],
  ['headers', `array['{}']::jsonb[]`],
])('promise 2a: %s of another length than the payloads are refused', async (name, array) => {
  const queue = await engine.queue()
  const text = `select id from dueq.enqueue_many($1, array['1', '2', '3']::jsonb[], ${name} => ${array})`
  expect(await engine.sqlstate(text, [queue])).toBe('DQ002')
  expect(await liveCount(queue)).toBe('0')
})

it('promise 2a: no payloads are no messages', async () => {
  const queue = await engine.queue()
  expect(await engine.rows(`select id from dueq.enqueue_many($1, '{}')`, [queue])).toEqual([])
  expect(await engine.rows('select id from dueq.enqueue_many($1, null)', [queue])).toEqual([])
})
