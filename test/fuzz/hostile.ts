/**
 * Hostile values: what breaks naive code, from what users have really passed to what nobody would. Objects are made anew
 * for each case, because the code under test may change them.
 */
import fc from 'fast-check'

/** Pieces that mean something to somebody: SQL, arrays, JSON, terminals, format strings, Unicode. */
export const fragments: readonly string[] = [
  ...[
    '',
    ' ',
    "'",
    '"',
    '\\',
    '`',
    '{',
    '}',
    '[',
    ']',
    ',',
    ';',
    ':',
    '%',
    '%s',
    '$1',
    '$$',
    '--',
    '/*',
    '*/',
    '|',
    '=',
  ],
  ...[
    '{1,NULL}',
    '{{1,2},{3,4}}',
    '[2:3]={1,2}',
    '{"a"}',
    '\\u0000',
    '\\x00',
    "'; drop table queues; --",
    "1' or '1'='1",
  ],
  ...['\u0000', '\u0001', '\u0007', '\b', '\t', '\n', '\r', '\r\n', '\u001b', '\u001b[31m', '\u001b]0;title\u0007'],
  ...['\u007f', '\u0085', '\u009b31m', '\u2028', '\u2029', '\ufeff', '\u200f', '\u202e', '\u2066', '\ufffd', '\uffff'],
  ...['é', 'e\u0301', 'ß', 'İ', '日本', '𝒳', '🎉', '👩‍👩‍👧', '🇩🇪', '\ud83c', '\udf89', 'a\u0300\u0301\u0302'],
  ...['__proto__', 'constructor', 'toString', 'null', 'NULL', 'true', 'q1', 'dueq', '-', '..', '/', '~', '*'],
  ...[
    '0',
    '-0',
    '1',
    '-1',
    '9',
    '1e999',
    '1e-999',
    'NaN',
    'Infinity',
    '0x10',
    '9007199254740993',
    '9223372036854775808',
  ],
  ...[
    '1s',
    '30s',
    '10m',
    '2h',
    '7d',
    '1.5h',
    '1e999s',
    '-1s',
    's',
    'ms',
    '1 month -29 days',
    '1 day',
    'infinity',
    '-infinity',
  ],
  ...['now', 'epoch', 'today', '24:00', '2027-01-31T09:00:00Z', '2027-02-30T00:00:00Z', '10000-01-01T00:00:00Z'],
  ...['-000001-01-01T00:00:00Z', '0000-01-01T00:00:00Z', '2027-01-31T24:00:00Z', '2027-01-31 09:00:00+99:99'],
]

const unit16 = fc.nat(0xffff).map((code) => String.fromCharCode(code))

/** Any text. */
export const text: fc.Arbitrary<string> = fc.oneof(
  { weight: 4, arbitrary: fc.array(fc.constantFrom(...fragments), { maxLength: 5 }).map((parts) => parts.join('')) },
  { weight: 2, arbitrary: fc.string({ unit: 'grapheme' }) },
  { weight: 2, arbitrary: fc.string({ unit: unit16 }) },
  { weight: 2, arbitrary: fc.string() },
  { weight: 1, arbitrary: fc.tuple(fc.constantFrom(...fragments), fc.nat(2000)).map(([part, n]) => part.repeat(n)) },
)

/** Text without lone surrogates and U+0000: what a program can hand to another. */
export const printable: fc.Arbitrary<string> = text.map((value) => value.toWellFormed().replaceAll('\u0000', ''))

/** A number that is the edge of something. */
export const number: fc.Arbitrary<number> = fc.oneof(
  fc.constantFrom(Number.NaN, Infinity, -Infinity, -0, 0, 1, -1, 0.1, -0.5, 1e-7, 1e21, 1e300),
  fc.constantFrom(
    Number.MIN_VALUE,
    Number.MAX_VALUE,
    2 ** 31,
    2 ** 31 - 1,
    -(2 ** 31) - 1,
    2 ** 53,
    2 ** 53 - 1,
    2 ** 63,
  ),
  fc.double(),
  fc.integer(),
  fc.maxSafeInteger(),
)

/** Numbers that are a duration of nothing: no fuzzed call may wait for hours. */
export const noDuration: fc.Arbitrary<number> = number.filter((value) => !(value >= 0 && value <= 3_110_400_000_000))

const throws = (): never => {
  throw new Error('a trap of the test')
}
const traps = new Proxy({}, { get: () => throws }) as ProxyHandler<object>

/** How to make a value. The value itself is made for each case: even to look at some of them throws, and others change. */
class Recipe {
  readonly make: () => unknown

  constructor(make: () => unknown) {
    this.make = make
  }

  [fc.toStringMethod](): string {
    return String(this.make).replace(/\s+/g, ' ')
  }
}

/** Makes the values of all recipes in it. */
export function cooked(value: unknown): unknown {
  if (value instanceof Recipe) return value.make()
  if (Array.isArray(value)) return value.map(cooked)
  if (typeof value !== 'object' || value === null) return value
  const prototype: unknown = Object.getPrototypeOf(value)
  if (prototype !== Object.prototype && prototype !== null) return value
  const made = Object.fromEntries(Object.entries(value).map(([name, inner]) => [name, cooked(inner)]))
  return prototype === null ? Object.setPrototypeOf(made, null) : made
}

const cycle: unknown[] = []
cycle.push({ cycle })
const revoked = (): unknown => {
  const { proxy, revoke } = Proxy.revocable([], {})
  revoke()
  return proxy
}
const throwsNull = (): never => {
  throw null
}

/** Makers of objects that nobody should pass. */
const makers: readonly (() => unknown)[] = [
  () => undefined,
  () => null,
  () => true,
  () => Symbol('of the test'),
  () => 10n ** 30n,
  () => () => 1,
  () => async () => {},
  () => class {},
  () => Object.create(null),
  () => new Proxy({}, traps),
  () => new Proxy([], traps),
  () => new Proxy(() => {}, traps),
  revoked,
  () => ({ toJSON: throws, toString: throws, valueOf: throws, [Symbol.toPrimitive]: throws }),
  () => ({ toJSON: () => Symbol('of toJSON') }),
  () => ({ toJSON: throwsNull }),
  () => ({ toJSON: () => ({ nested: 10n }) }),
  () => Object.defineProperty({}, 'payload', { enumerable: true, get: throws }),
  () => Object.defineProperty({}, 'name', { enumerable: false, get: throwsNull }),
  () => cycle,
  () => new Date(Number.NaN),
  () => new Date(8.64e15),
  () => new Date(-8.64e15),
  () => new Date('-000001-06-01T00:00:00Z'),
  () => Object.create(Date.prototype),
  () => new Map([[1, 2]]),
  () => new Set([1]),
  () => new WeakMap(),
  () => Promise.resolve(1),
  () => /x/,
  () => Buffer.from([0, 255]),
  () => new Float64Array([Number.NaN]),
  () => new String('boxed'),
  () => new Number(1),
  () => Object(10n),
  () => new Error('an error as a value'),
  () => AbortSignal.abort(),
  () => Object.assign([], { 3: 1 }),
  () => new Array(100_000).fill(0),
  () => nested(10_000),
  () => nested(400),
  () => JSON.parse('{"__proto__":{"delay":1},"constructor":{"prototype":1}}'),
  () => ({ length: 2 ** 53 }),
  () => ({ [Symbol.iterator]: throws }),
  () => ({ [Symbol.iterator]: () => ({ next: () => null }) }),
  () => ({ [Symbol.asyncIterator]: throws }),
]

/** An object, or a primitive of a kind that is seldom meant. */
export const thing: fc.Arbitrary<unknown> = fc.oneof(
  { weight: 3, arbitrary: fc.constantFrom(...makers.map((make) => new Recipe(make))) },
  {
    weight: 1,
    arbitrary: fc
      .anything({
        maxDepth: 2,
        withBigInt: true,
        withDate: true,
        withMap: true,
        withNullPrototype: true,
        withSet: true,
        withSparseArray: true,
        withTypedArray: true,
      })
      .map((value) => new Recipe(() => value)),
  },
)

/** Anything at all. */
export const anything: fc.Arbitrary<unknown> = fc.oneof(text, number, thing)

/** An object with some of these properties, each as it should be or not at all; or no such object. */
export function bag(properties: Readonly<Record<string, fc.Arbitrary<unknown>>>): fc.Arbitrary<unknown> {
  const names = Object.keys(properties)
  const mixed = Object.entries(properties).map(([name, good]) => {
    const bad = fc.oneof(text, noDuration, thing)
    return [name, fc.oneof({ weight: 4, arbitrary: good }, { weight: 1, arbitrary: bad })] as const
  })
  const record = fc.record(Object.fromEntries(mixed), { requiredKeys: [] })
  const withGetter = (name: string): Recipe =>
    new Recipe(() => Object.defineProperty({}, name, { enumerable: true, get: throws }))
  return fc.oneof(
    { weight: 10, arbitrary: record },
    { weight: 1, arbitrary: thing },
    { weight: 1, arbitrary: fc.tuple(record, text, text).map(([good, key, value]) => ({ ...good, [key]: value })) },
    { weight: 1, arbitrary: fc.constantFrom(...names).map(withGetter) },
  )
}

/** JSON of so many arrays and objects in each other. */
export function nested(depth: number): unknown {
  let value: unknown = 1
  for (let i = 0; i < depth; i++) value = i % 2 ? [value] : { a: value }
  return value
}
