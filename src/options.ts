// What comes in from outside is checked here, once, at the border; everything inside trusts it. Durations become
// milliseconds, instants become text that PostgreSQL reads the same under every setting, payloads become JSON text.
import { DueqError } from './errors.js'

/** A length of time: milliseconds, or a string such as `'250ms'`, `'30s'`, `'10m'`, `'2h'`, `'7d'`, `'1.5h'`. */
export type Duration = number | `${number}${'ms' | 's' | 'm' | 'h' | 'd'}`

/** An instant: a Date, or an ISO 8601 text with a zone such as `'2027-01-31T09:00:00Z'` (microseconds are kept). */
export type Instant = Date | string

/** The largest payload, in bytes of JSON. */
export const maxPayloadBytes = 1_048_576

const unitMs: Readonly<Record<string, number>> = { ms: 1, s: 1000, m: 60_000, h: 3_600_000, d: 86_400_000 }

/** Reads a duration as milliseconds. Raises `duration.invalid` where it is none or out of range. */
export function durationMs(
  name: string,
  value: unknown,
  range: { readonly min?: Duration; readonly max?: Duration } = {},
): number {
  const min = range.min ?? 0
  // A century as PostgreSQL compares intervals: of 360 days a year.
  const max = range.max ?? '36000d'
  const ms = parseDuration(value)
  if (ms === undefined || !Number.isFinite(ms) || ms < parseDuration(min)! || ms > parseDuration(max)!)
    throw new DueqError(
      'duration.invalid',
      `Expected \`${name}\` to be a duration from ${show(min)} to ${show(max)} (milliseconds, or text like '30s'), got ${describe(value)}.`,
      { details: { option: name } },
    )
  return ms
}

/** Reads an instant as ISO text. Raises `instant.invalid` where it is none, or has no zone. */
export function instantText(name: string, value: unknown): string {
  if (value instanceof Date && !Number.isNaN(value.getTime())) return value.toISOString()
  const iso = /^\d{4}-\d\d-\d\d[T ]\d\d:\d\d(:\d\d(\.\d{1,6})?)?(Z|[+-]\d\d(:?\d\d)?)$/
  if (typeof value === 'string' && iso.test(value) && !Number.isNaN(Date.parse(value))) return value
  throw new DueqError(
    'instant.invalid',
    `Expected \`${name}\` to be a Date or an ISO 8601 text with a zone like '2027-01-31T09:00:00Z', got ${describe(value)}.`,
    { details: { option: name } },
  )
}

/** Reads a whole number. Raises `option.invalid` where it is none or out of range. */
export function wholeNumber(name: string, value: unknown, min: number, max: number): number {
  if (typeof value === 'number' && Number.isInteger(value) && value >= min && value <= max) return value
  throw new DueqError(
    'option.invalid',
    `Expected \`${name}\` to be a whole number from ${min} to ${max}, got ${describe(value)}.`,
    {
      details: { option: name },
    },
  )
}

/** Reads one of a few words. Raises `option.invalid`. */
export function oneOf<const T extends string>(name: string, value: unknown, words: readonly T[]): T {
  if (words.includes(value as T)) return value as T
  throw new DueqError(
    'option.invalid',
    `Expected \`${name}\` to be one of ${words.join(', ')}, got ${describe(value)}.`,
    {
      details: { option: name },
    },
  )
}

/** Raises `option.unknown` for a key that is not among the known ones, and names the one that was probably meant. */
export function knownOptions(what: string, given: unknown, known: readonly string[]): void {
  if (given === undefined) return
  if (typeof given !== 'object' || given === null || Array.isArray(given))
    throw new DueqError('option.invalid', `Expected the options of ${what} to be an object, got ${describe(given)}.`)
  for (const key of Object.keys(given)) {
    if (known.includes(key)) continue
    const meant = closest(key, known)
    throw new DueqError(
      'option.unknown',
      `Unknown option \`${key}\` of ${what}${meant ? `, did you mean \`${meant}\`?` : `. It takes ${known.map((name) => `\`${name}\``).join(', ')}.`}`,
      { details: { option: key } },
    )
  }
}

/** Checks a queue name: 1 to 120 letters, digits and `_ . : / -`. Raises `queue.invalid_name`. */
export function queueName(value: unknown): string {
  if (typeof value === 'string' && /^[A-Za-z0-9_][A-Za-z0-9_.:/-]{0,119}$/.test(value)) return value
  throw new DueqError(
    'queue.invalid_name',
    `Bad queue name ${describe(value)}. Use 1 to 120 letters, digits and _ . : / -, beginning with a letter, a digit or _.`,
  )
}

/** Checks a schema name: at most 50 letters, digits and `_`. Raises `option.invalid`. */
export function schemaName(value: unknown): string {
  if (typeof value === 'string' && /^[a-z_][a-z0-9_]{0,49}$/.test(value) && !value.startsWith('pg_')) return value
  throw new DueqError(
    'option.invalid',
    `Expected \`schema\` to be 1 to 50 lower-case letters, digits and _, not beginning with a digit or pg_, got ${describe(value)}.`,
    { details: { option: 'schema' } },
  )
}

/** The connection URL of the environment: `DUEQ_DATABASE_URL`, then `DATABASE_URL`. Raises `connection.invalid`. */
export function databaseUrl(): string {
  const url = process.env['DUEQ_DATABASE_URL'] || process.env['DATABASE_URL']
  if (url) return url
  throw new DueqError(
    'connection.invalid',
    'No connection to a database is given. Set DUEQ_DATABASE_URL or DATABASE_URL to something like postgres://user:password@host:5432/database.',
  )
}

/** Checks an id. Ids travel as strings of digits, because a bigint does not fit a JavaScript number. Raises `option.invalid`. */
export function messageId(value: unknown): string {
  if (typeof value === 'string' && /^[1-9]\d{0,18}$/.test(value) && BigInt(value) <= 9_223_372_036_854_775_807n)
    return value
  throw new DueqError('option.invalid', `Expected an id to be a string of digits, got ${describe(value)}.`, {
    details: { option: 'id' },
  })
}

/**
 * Writes a value as the JSON text that PostgreSQL stores as `jsonb`, at most 1 MB.
 *
 * Refused with `payload.not_json`, because they would change or fail on the way: undefined, functions and symbols, BigInt,
 * NaN and Infinity, integers beyond 2^53, the character U+0000, lone surrogates, cycles. (A property whose value is undefined
 * is left out, as JSON does.) `payload.too_large` above the limit.
 */
export function jsonText(name: string, value: unknown): string {
  let text: string | undefined
  try {
    text = JSON.stringify(value)
    // Only these can hide something that JSON or jsonb would drop or refuse; most payloads skip the second look.
    if (text !== undefined && /\\u|\d{16}|e\+|null/.test(text)) JSON.stringify(value, refuseLossy)
  } catch (error) {
    throw new DueqError('payload.not_json', `Expected \`${name}\` to be JSON: ${(error as Error).message}.`, {
      cause: error,
    })
  }
  if (text === undefined)
    throw new DueqError('payload.not_json', `Expected \`${name}\` to be JSON, got ${describe(value)}.`)
  const bytes = text.length * 3 <= maxPayloadBytes ? text.length : Buffer.byteLength(text)
  if (bytes > maxPayloadBytes)
    throw new DueqError(
      'payload.too_large',
      `\`${name}\` has ${bytes} bytes of JSON, the limit is ${maxPayloadBytes}. Store the large part elsewhere and enqueue a reference to it.`,
      { details: { bytes } },
    )
  return text
}

/** Describes a value for an error: "`30` (number)". */
export function describe(value: unknown): string {
  if (value === undefined || value === null) return `\`${value}\``
  if (typeof value === 'function' || typeof value === 'symbol' || typeof value === 'bigint') return `a ${typeof value}`
  if (value instanceof Date) return 'an invalid Date'
  if (typeof value === 'object') return Array.isArray(value) ? 'an array' : 'an object'
  const text = String(value)
  return `\`${text.length > 100 ? `${text.slice(0, 100)}…` : text}\` (${typeof value})`
}

// --- internal ---

function parseDuration(value: unknown): number | undefined {
  if (typeof value === 'number') return value
  const match = typeof value === 'string' ? /^(\d+(?:\.\d+)?)(ms|s|m|h|d)$/.exec(value) : null
  return match ? Number(match[1]) * unitMs[match[2]!]! : undefined
}

function show(bound: Duration): string {
  return typeof bound === 'number' ? `${bound}ms` : bound
}

function refuseLossy(key: string, value: unknown): unknown {
  const at = key ? ` at "${key}"` : ''
  if (typeof value === 'number') {
    if (!Number.isFinite(value)) throw new Error(`${value}${at} has no JSON form`)
    if (Number.isInteger(value) && !Number.isSafeInteger(value))
      throw new Error(`the integer ${value}${at} is beyond 2^53 and would change; pass it as a string`)
  } else if (typeof value === 'string') {
    if (value.includes('\u0000'))
      throw new Error(`the text${at} contains the character U+0000, which PostgreSQL cannot store`)
    if (/\p{Surrogate}/u.test(value))
      throw new Error(`the text${at} contains a lone surrogate, which is not valid Unicode`)
  } else if (value !== null && typeof value === 'object') {
    for (const name of Object.keys(value)) {
      if (name.includes('\u0000')) throw new Error('a property name contains the character U+0000')
      if (/\p{Surrogate}/u.test(name)) throw new Error('a property name contains a lone surrogate')
    }
    if (Array.isArray(value) && value.some((item) => ['undefined', 'function', 'symbol'].includes(typeof item)))
      throw new Error(`the array${at} contains something that JSON would turn into null`)
  }
  return value
}

/** The known word at the smallest edit distance, if that is small enough to be a slip. */
function closest(word: string, known: readonly string[]): string | undefined {
  const ranked = known.map((name) => ({ name, distance: editDistance(word.toLowerCase(), name.toLowerCase()) }))
  const best = ranked.sort((a, b) => a.distance - b.distance)[0]
  return best && best.distance <= Math.max(2, Math.floor(word.length / 3)) ? best.name : undefined
}

function editDistance(a: string, b: string): number {
  let row = Array.from({ length: b.length + 1 }, (_, i) => i)
  for (let i = 1; i <= a.length; i++) {
    const next = [i]
    for (let j = 1; j <= b.length; j++)
      next[j] = Math.min(row[j]! + 1, next[j - 1]! + 1, row[j - 1]! + (a[i - 1] === b[j - 1] ? 0 : 1))
    row = next
  }
  return row[b.length]!
}
