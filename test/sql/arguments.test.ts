import { afterAll, beforeAll, expect, it } from 'vitest'
import { type Engine, sqlstateOf, startEngine } from './engine.js'

let engine: Engine
let queue: string
beforeAll(async () => {
  engine = await startEngine()
  queue = await engine.queue()
})
afterAll(() => engine.close())

const enqueue = (args: string) => engine.rows(`select id from dueq.enqueue($1, ${args})`, [queue])

it.each([
  ['null', 'DQ002', 'expected payload'],
  [`to_jsonb(repeat('x', 1048575))`, 'DQ003', 'payload has 1048577 bytes of JSON, the limit is 1048576'],
  [`(select jsonb_agg(i) from generate_series(1, 200000) i)`, 'DQ003', 'payload has'],
  [`'1', delay => '-1 microsecond'`, 'DQ002', 'expected delay'],
  [`'1', delay => '100 years 1 second'`, 'DQ002', 'expected delay'],
  [`'1', at => 'infinity'`, 'DQ002', 'expected at'],
  [`'1', at => '-infinity'`, 'DQ002', 'expected at'],
  [`'1', at => dueq.clock() + interval '101 years'`, 'DQ002', 'expected at'],
  [`'1', at => dueq.clock(), delay => '0'`, 'DQ004', 'both delay and at'],
  [`'1', priority => -101`, 'DQ002', 'expected priority to be from -100 to 100 (smaller first), got -101'],
  [`'1', priority => 2147483647`, 'DQ002', 'expected priority'],
  [`'1', priority => null`, 'DQ002', 'expected priority'],
  [`'1', headers => '[]'`, 'DQ002', 'expected headers to be a JSON object, got array'],
  [`'1', headers => 'null'`, 'DQ002', 'expected headers'],
  [
    `'1', headers => (select jsonb_object_agg(i, md5(i::text)) from generate_series(1, 3000) i)`,
    'DQ002',
    'expected headers to be at most 64 kB',
  ],
  [`'1', dedup_key => ''`, 'DQ002', 'expected dedup_key'],
  [`'1', dedup_key => repeat('é', 257)`, 'DQ002', 'expected dedup_key to be 1 to 512 bytes long, got 514 bytes'],
])('arguments: enqueue refuses %s', async (args, code, message) => {
  const failing = enqueue(args)
  await expect(failing).rejects.toThrow(message)
  expect(await sqlstateOf(failing)).toBe(code)
})

it.each([
  `to_jsonb(repeat('x', 1048574))`,
  `'1', delay => '0'`,
  `'1', delay => '100 years'`,
  `'1', at => '0001-01-01 00:00:00+00 BC'`,
  `'1', priority => -100`,
  `'1', priority => 100`,
  `'1', headers => '{}'`,
  `'1', dedup_key => repeat('é', 256)`,
  `'1', dedup_key => e'line\\nbreak \\'quote\\' \\\\'`,
])('arguments: enqueue accepts %s', async (args) => {
  expect(await enqueue(args)).toHaveLength(1)
})

it('arguments: the size of a payload counts as it is read, not as a table has stored or packed it', async () => {
  await engine.rows(`create table dueq.drafts as select jsonb_build_object('text', repeat('x', 2000000)) as draft`)
  expect(await engine.sqlstate('select (dueq.enqueue($1, draft)).id from dueq.drafts', [queue])).toBe('DQ003')
  expect(await sqlstateOf(enqueue(`(select jsonb_agg(1e100000) from generate_series(1, 20))`))).toBe('DQ003')
})

it.each([
  ['dequeue', 'select id from dueq.dequeue($1, $2)', [0, -1, 10_001, null]],
  ['poll', 'select id from dueq.poll($1, $2)', [0, -1, 10_001, null]],
  ['redrive', 'select id from dueq.redrive($1, max => $2)', [0, 10_001, null]],
  ['purge', 'select dueq.purge($1, max => $2)', [0, 100_001, null]],
  ['purge_dead', 'select dueq.purge_dead($1, max => $2)', [0, 100_001, null]],
] as const)('arguments: %s refuses a max out of range', async (_, text, values) => {
  for (const max of values) expect(await engine.sqlstate(text, [queue, max])).toBe('DQ002')
})

it('arguments: reschedule takes one of delay and at, in their ranges', async () => {
  const id = await engine.enqueue(queue, `delay => '1 hour'`)
  const sqlstate = (args: string) => engine.sqlstate(`select dueq.reschedule($1, ${args})`, [id])
  expect(await sqlstate(`delay => '1 second', at => dueq.clock()`)).toBe('DQ004')
  expect(await sqlstate(`delay => '-1 second'`)).toBe('DQ002')
  expect(await sqlstate(`at => 'infinity'`)).toBe('DQ002')
})

it('arguments: every error of the engine has a message that says what was expected, or a hint', async () => {
  await expect(enqueue(`'1', delay => '-1 hour'`)).rejects.toThrow(
    'expected delay to be from 0 to 100 years, got -01:00:00',
  )
  await expect(engine.rows(`select id from dueq.enqueue('typo', '1')`)).rejects.toMatchObject({
    message: 'queue "typo" does not exist',
    hint: expect.stringContaining('create_queue'),
  })
})
