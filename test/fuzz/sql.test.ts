/**
 * Every public function of the schema, called the way another language would: text parameters with casts. It gives what it
 * promises, or one of these errors, raised where docs/sql-api.md says it is; an argument in range never overflows.
 */
import fc from 'fast-check'
import { afterAll, beforeAll, describe, expect } from 'vitest'
import { type Engine, startEngine } from '../sql/engine.js'
import { expectQuietProcess, fuzz } from './cases.js'
import { printable } from './hostile.js'

/** Raised by the functions themselves. (55P03 and 40001 need another session.) */
const ownStates = ['DQ001', 'DQ002', 'DQ003', 'DQ004', 'DQ005', 'DQ006']
/**
 * Raised by PostgreSQL while it reads an argument, before a function is called: no such number, interval, instant, JSON,
 * array or boolean (22P02, 22007, 22008, 22009, 22003, 22015, 2202E, 22P05), no such time zone (22023), a NUL (22021), JSON
 * too deep or an array too large (54001, 54000).
 */
const inputStates = [
  '22P02',
  '22007',
  '22008',
  '22009',
  '22003',
  '22015',
  '2202E',
  '22P05',
  '22023',
  '22021',
  '54001',
  '54000',
]

let engine: Engine
beforeAll(async () => {
  engine = await startEngine()
  await engine.rows(`select dueq.create_queue('q1', lease => '12 hours', max_attempts => 1000)`)
})
afterAll(() => engine.close())
expectQuietProcess()

const maybe = <T>(value: fc.Arbitrary<T>) => fc.option(value, { freq: 6 })
const one = (...values: string[]) => fc.constantFrom(...values)
const ends = (edges: readonly number[]) =>
  fc.constantFrom(...edges.flatMap((edge) => [edge - 1, edge, edge + 1])).map(String)

const unit = one('years', 'months', 'days', 'hours', 'minutes', 'seconds', 'milliseconds', 'microseconds')
const part = fc.tuple(fc.oneof(fc.integer({ min: -400, max: 400 }), fc.integer(), fc.constantFrom(0, 1, 12, 360)), unit)
/** Months that days take back: what is compared as 30 and 360 days, and added by the calendar. */
const balanced = fc
  .tuple(fc.integer({ min: -30, max: 30 }), fc.integer({ min: -24, max: 48 }), fc.constantFrom(1, 12))
  .map(([n, hours, months]) => `${n * months} months ${-n * months * 30} days ${hours} hours`)
const interval = fc.oneof(
  { weight: 3, arbitrary: balanced },
  { weight: 4, arbitrary: fc.array(part, { minLength: 1, maxLength: 3 }).map((parts) => parts.map((p) => p.join(' ')).join(' ')) }, // biome-ignore format: one line is enough
  {
    weight: 3,
    arbitrary: one('0', '1 second', '12 hours', '30 seconds', '1 day', '100 years', '36525 days', '100 ms', '5s'),
  },
  { weight: 1, arbitrary: one('infinity', '-infinity', '1 month -29 days', '-1 month 31 days', '178000000 years', 'P1Y', '@ 1 ago') }, // biome-ignore format: one line is enough
  { weight: 1, arbitrary: printable },
)
const instant = fc.oneof(
  one('infinity', '-infinity', 'now', 'epoch', 'today', '24:00', '2027-01-31 24:00:00+00', '2020-02-30', '294276-12-31', '294277-01-01'), // biome-ignore format: one line is enough
  one(
    '4713-11-24 00:00:00+00 BC',
    '0001-01-01 BC',
    '1800-01-01 00:00:00+00:53:28',
    '10000-01-01',
    '2100-01-01 UTC',
    '20200101',
  ),
  fc.date({ noInvalidDate: true }).map((date) => date.toISOString()),
  printable,
)
const integer = fc.oneof(
  ends([0, 1, 100, -100, 1000, 10_000, 2 ** 31, -(2 ** 31)]),
  fc.integer().map(String),
  printable,
)
const id = fc.oneof(
  fc.nat(300).map(String),
  one('9223372036854775807', '9223372036854775808', '-1', '1e3', ' 7 '),
  printable,
)
const json = fc.oneof(
  fc.json(),
  printable.map((value) => JSON.stringify(value)),
  one('1e131071', '1e131072', '-1e-16383', '{"a":1,"a":2}', '"\\u0000"', '"\\ud800"', '[1,2', 'null', '[]', `{"a": ${'9'.repeat(500)}}`), // biome-ignore format: one line is enough
  one(
    `${'['.repeat(300)}${']'.repeat(300)}`,
    '['.repeat(10_000),
    `"${'x'.repeat(70_000)}"`,
    `{"a":"${'x'.repeat(70_000)}"}`,
  ),
  one(`"${'x'.repeat(1_048_575)}"`, `[${'1e9999,'.repeat(150)}1]`),
  printable,
)
const queue = fc.oneof({ weight: 6, arbitrary: one('q1') }, one('q1 ', 'Q1', '', 'x'.repeat(120), 'x'.repeat(121), 'q\n', '.q'), printable) // biome-ignore format: one line is enough
const flag = one('true', 'f', 'yes', '0', 'maybe', '')
const quoted = (value: string | null): string => (value === null ? 'null' : `"${value.replace(/["\\]/g, '\\$&')}"`)
const array = (element: fc.Arbitrary<string>) => {
  const list = fc.array(maybe(element), { maxLength: 4 })
  return fc.oneof(
    { weight: 6, arbitrary: list.map((items) => `{${items.map(quoted).join()}}`) },
    {
      weight: 1,
      arbitrary: fc.tuple(element, element).map((pair) => `{{${pair.map(quoted).join()}},{null,${quoted(pair[0])}}}`),
    },
    { weight: 1, arbitrary: element.map((only) => `[2:3]={${quoted(only)},${quoted(only)}}`) },
    {
      weight: 1,
      arbitrary: one('{}', '{{}}', '{1,2', '{1}{2}', '[1:0]={}', '[2147483647:2147483647]={1}', '{{1},{2,3}}'),
    },
    { weight: 1, arbitrary: printable },
  )
}
const word = printable

type Arguments = Readonly<Record<string, readonly [type: string, value: fc.Arbitrary<string>]>>
const functions: Readonly<Record<string, Arguments>> = {
  create_queue: { queue: ['text', fc.oneof(queue, one('made'))], lease: ['interval', interval], max_attempts: ['integer', integer], backoff_base: ['interval', interval], backoff_max: ['interval', interval], poll_interval: ['interval', interval], max_depth: ['integer', integer], max_payload_bytes: ['integer', integer] }, // biome-ignore format: as in the documentation
  enqueue: { queue: ['text', queue], payload: ['jsonb', json], delay: ['interval', interval], at: ['timestamptz', instant], priority: ['integer', integer], dedup_key: ['text', word], headers: ['jsonb', json] }, // biome-ignore format: as in the documentation
  enqueue_many: { queue: ['text', queue], payloads: ['jsonb[]', array(json)], delays: ['interval[]', array(interval)], ats: ['timestamptz[]', array(instant)], priorities: ['integer[]', array(integer)], dedup_keys: ['text[]', array(word)], headers: ['jsonb[]', array(json)] }, // biome-ignore format: as in the documentation
  dequeue: {
    queue: ['text', queue],
    max: ['integer', integer],
    lease: ['interval', interval],
    consumer: ['text', word],
  },
  poll: { queue: ['text', queue], max: ['integer', integer], lease: ['interval', interval], consumer: ['text', word], handlers: ['integer', integer] }, // biome-ignore format: as in the documentation
  next_ready_at: { queue: ['text', queue] },
  ack: { id: ['bigint', id], attempt: ['integer', integer] },
  ack_many: { ids: ['bigint[]', array(id)], attempts: ['integer[]', array(integer)] },
  nack: {
    id: ['bigint', id],
    attempt: ['integer', one('1', '2')],
    error: ['text', word],
    delay: ['interval', interval],
  },
  nack_many: { ids: ['bigint[]', array(id)], attempts: ['integer[]', array(one('1', '2'))], errors: ['text[]', array(word)], delays: ['interval[]', array(interval)] }, // biome-ignore format: as in the documentation
  release: { id: ['bigint', id], attempt: ['integer', one('1', '2')], delay: ['interval', interval] },
  release_many: {
    ids: ['bigint[]', array(id)],
    attempts: ['integer[]', array(one('1', '2'))],
    delays: ['interval[]', array(interval)],
  },
  extend: { id: ['bigint', id], attempt: ['integer', one('1', '2')], lease: ['interval', interval] },
  extend_many: {
    ids: ['bigint[]', array(id)],
    attempts: ['integer[]', array(one('1', '2'))],
    lease: ['interval', interval],
  },
  dead_letter: { id: ['bigint', id], attempt: ['integer', one('1')], reason: ['text', word], error: ['text', word] },
  cancel: { id: ['bigint', id] },
  reschedule: { id: ['bigint', id], delay: ['interval', interval], at: ['timestamptz', instant] },
  redrive: { queue: ['text', queue], ids: ['bigint[]', array(id)], max: ['integer', integer] },
  purge: { queue: ['text', queue], max: ['integer', integer], include_leased: ['boolean', flag] },
  purge_dead: { queue: ['text', queue], ids: ['bigint[]', array(id)], max: ['integer', integer] },
  pause_queue: { queue: ['text', queue] },
  resume_queue: { queue: ['text', queue] },
  drop_queue: { queue: ['text', fc.oneof(queue, one('made'))] },
}
/** Arguments without a default. */
const required = ['queue', 'payload', 'payloads', 'id', 'attempt', 'attempts', 'reason']

const calls = Object.entries(functions).map(([name, types]) => {
  const values = Object.entries(types).map(([argument, [, value]]) => [argument, maybe(value)] as const)
  const requiredKeys = Object.keys(types).filter(
    (argument) =>
      required.includes(argument) ||
      (argument === 'ids' && /^(ack|nack|release|extend)_many$/.test(name)) ||
      name === 'extend_many',
  )
  return fc.record(Object.fromEntries(values), { requiredKeys }).map((given) => ({ name, given }))
})

/** What must be true of all rows after every call. */
const broken = `
  select m.id from dueq.messages m join dueq.queues q on q.id = m.queue_id
   where not isfinite(m.ready_at) or not isfinite(m.due_at) or m.ready_at > dueq.clock() + interval '101 years'
      or m.leased_by is not null and m.ready_at > dueq.clock() + interval '12 hours'
      or m.enqueued_at = dueq.clock() and m.leased_by is not null and m.ready_at < dueq.clock() + interval '1 second'
      or not m.priority = any(q.priorities) or octet_length(m.dedup_key) > 512 or m.attempt < 0 or m.failures > m.attempt
   union all
  select q.id from dueq.queues q
   where extract(epoch from q.lease) not between 1 and 43200 or extract(epoch from q.backoff_base) not between 0 and 86400
      or q.backoff_max < q.backoff_base or extract(epoch from q.poll_interval) not between 0.1 and 3600`
const stored = `select (select count(*) from dueq.messages) + (select count(*) from dueq.dead_letters) || ' ' || md5((select string_agg(q::text, '' order by id) from dueq.queues q)) as stored`

describe('an interval', () => {
  const within = (column: string, max: number) =>
    `extract(epoch from ${column}) = extract(epoch from $1::text::interval) and extract(epoch from ${column}) between 0 and ${max}`
  const setting = (name: string, max: number) => [
    `select dueq.create_queue('intervals', ${name} => $1::text::interval)`,
    `select ${within(`q.${name}`, max)} from dueq.queues q where q.name = 'intervals'`,
  ]
  /** What takes it, and what it has become: a statement does not see what its own functions write. */
  const uses = [
    [
      `select id from dueq.enqueue('intervals', '1', delay => $1::text::interval)`,
      `select ${within('m.due_at - m.enqueued_at', 3_155_760_000)} from dueq.messages m order by id desc limit 1`,
    ],
    [
      `select dueq.enqueue('intervals', '1')`,
      `select ${within('p.lease_ends_at - dueq.clock()', 43_200)} from dueq.dequeue('intervals', lease => $1::text::interval) p`,
    ],
    setting('lease', 43_200),
    setting('backoff_base', 86_400),
    setting('backoff_max', 2_592_000),
    setting('poll_interval', 3_600),
  ] as const
  fuzz('is as long as it says wherever it is taken, or refused', 20, [fc.oneof(balanced, interval)], async (given) => {
    await engine.rows(`select dueq.create_queue('intervals', backoff_base => '0', backoff_max => '30 days')`)
    for (const [take, become] of uses) {
      try {
        await engine.rows(take, take.includes('$1') ? [given] : [])
        expect(Object.values((await engine.rows(become, [given]))[0]!), `${given}: ${take}`).toEqual([true])
      } catch (error) {
        const { code } = error as { code?: string }
        if (code === undefined) throw error
        expect(['DQ002', ...inputStates]).toContain(code)
      }
    }
  })
})

describe('every function', () => {
  fuzz('does what it says, or raises what it says', 60, [fc.oneof(...calls)], async ({ name, given }) => {
    const types = functions[name]!
    const names = Object.keys(given).filter((argument) => given[argument] !== undefined)
    const text = `select count(*) from dueq.${name}(${names.map((argument, i) => `${argument} => $${i + 1}::text::${types[argument]![0]}`).join(', ')})`
    const before = await engine.value(stored)
    try {
      await engine.rows(text, names.map((argument) => given[argument])) // biome-ignore format: one line is enough
      expect(await engine.rows(broken)).toEqual([])
    } catch (error) {
      const {
        code = '',
        where = '',
        message,
        detail,
      } = error as { code?: string; where?: string; message: string; detail?: string }
      const isOwn = ownStates.includes(code)
      expect([...ownStates, ...inputStates], `${text}: ${message}`).toContain(code)
      expect(!isOwn && /PL\/pgSQL function|SQL function/.test(where), `${code} ${message} in ${where}`).toBe(false)
      expect(message.length).toBeGreaterThan(10)
      if (isOwn) expect(`${message} ${detail ?? ''}`).not.toMatch(/\(\)|<NULL>/)
      expect(await engine.value(stored)).toBe(before)
    }
    if (!(await engine.value(`select count(*)::integer from dueq.queues where name = 'q1'`)))
      await engine.rows(`select dueq.create_queue('q1', lease => '12 hours')`)
  })
})
