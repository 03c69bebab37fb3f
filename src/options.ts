// What comes in from outside is checked here, once, at the border; everything inside trusts it. Durations become
// milliseconds, instants become text that PostgreSQL reads the same under every setting. (JSON: see json.ts.)
import { DueqError, isDueqError, thrownText } from './errors.js'

/** A length of time: milliseconds, or a string such as `'250ms'`, `'30s'`, `'10m'`, `'2h'`, `'7d'`, `'1.5h'`. */
export type Duration = number | `${number}${'ms' | 's' | 'm' | 'h' | 'd'}`

/** An instant: a Date, or an ISO 8601 text with a zone such as `'2027-01-31T09:00:00Z'` (microseconds are kept). */
export type Instant = Date | string

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

/** Reads an instant of the years 1 to 9999 as ISO text. Raises `instant.invalid` where it is none, or has no zone. */
export function instantText(name: string, value: unknown): string {
  const iso = /^(?!0000)\d{4}-\d\d-\d\d[T ]\d\d:\d\d(:\d\d(\.\d{1,6})?)?(Z|[+-]\d\d(:?\d\d)?)$/
  const ms = dateMs(value)
  const text = ms === undefined || Number.isNaN(ms) ? value : new Date(ms).toISOString()
  if (typeof text === 'string' && iso.test(text) && !Number.isNaN(Date.parse(text))) return text
  // Years of other lengths are written with a sign, which PostgreSQL takes for a zone.
  const expected =
    typeof text === 'string' && ms !== undefined
      ? `an instant that exists in PostgreSQL as well, of the years 1 to 9999, got \`${text}\``
      : `a Date or an ISO 8601 text with a zone like '2027-01-31T09:00:00Z', got ${describe(value)}`
  throw new DueqError('instant.invalid', `Expected \`${name}\` to be ${expected}.`, { details: { option: name } })
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
  if (typeof given !== 'object' || given === null || isArray(given))
    throw new DueqError('option.invalid', `Expected the options of ${what} to be an object, got ${describe(given)}.`)
  const key = readable(`the options of ${what}`, () => {
    for (const name of known) void (given as Record<string, unknown>)[name]
    return Object.keys(given).find((name) => !known.includes(name))
  })
  if (key === undefined) return
  const shown = key.length > 100 ? `${key.slice(0, 100)}…` : key
  const meant = closest(shown, known)
  throw new DueqError(
    'option.unknown',
    `Unknown option \`${shown}\` of ${what}${meant ? `, did you mean \`${meant}\`?` : `. It takes ${known.map((name) => `\`${name}\``).join(', ')}.`}`,
    { details: { option: key } },
  )
}

/** Runs a first look into an object of the caller; what a getter or a Proxy throws there becomes `option.invalid`. */
export function readable<T>(what: string, look: () => T): T {
  try {
    return look()
  } catch (cause) {
    if (isDueqError(cause)) throw cause
    throw new DueqError('option.invalid', `Expected ${what} to be readable, but reading threw: ${saying(cause)}.`, {
      cause,
    })
  }
}

/** What a thrown value says: the message of an Error, the text of what has one. */
export function saying(thrown: unknown): string {
  try {
    if (thrown instanceof Error && typeof thrown.message === 'string') return thrown.message
  } catch {}
  return typeof thrown === 'object' && thrown !== null ? 'an object that is no Error' : thrownText(thrown)
}

/** Checks an AbortSignal, which may be missing. Raises `option.invalid`. */
export function abortSignal(name: string, value: unknown): AbortSignal | undefined {
  const isSignal = (): boolean => {
    const { aborted, addEventListener } = value as Partial<AbortSignal>
    return typeof aborted === 'boolean' && typeof addEventListener === 'function'
  }
  if (value === undefined) return undefined
  if (typeof value === 'object' && value !== null && readable(`\`${name}\``, isSignal)) return value as AbortSignal
  throw new DueqError('option.invalid', `Expected \`${name}\` to be an AbortSignal, got ${describe(value)}.`, {
    details: { option: name },
  })
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

/** The connection URL given, or that of the environment: `DUEQ_DATABASE_URL`, then `DATABASE_URL`. Raises `connection.invalid`. */
export function databaseUrl(given: unknown): string {
  const url = given ?? (process.env['DUEQ_DATABASE_URL'] || process.env['DATABASE_URL'])
  if (url === undefined || url === '')
    throw new DueqError(
      'connection.invalid',
      'No connection to a database is given. Set DUEQ_DATABASE_URL or DATABASE_URL to something like postgres://user:password@host:5432/database.',
    )
  if (
    typeof url === 'string' &&
    /^postgres(ql)?:\/\//.test(url) &&
    URL.canParse(url.replace(/^\w+:/, 'http:').replace(/,[^/@]*(?=\/|$)/, ''))
  )
    return url
  throw new DueqError(
    'connection.invalid',
    `Expected a connection URL like postgres://user:password@host:5432/database, got ${typeof url === 'string' ? 'something else (not shown: it may hold a password)' : describe(url)}.`,
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

/** Checks an array of ids, which may be missing. Raises `option.invalid`. */
export function messageIds(name: string, value: unknown): string[] | undefined {
  if (value === undefined) return undefined
  if (isArray(value)) return readable(`\`${name}\``, () => Array.from(value)).map(messageId)
  throw new DueqError('option.invalid', `Expected \`${name}\` to be an array of ids, got ${describe(value)}.`, {
    details: { option: name },
  })
}

/** Describes a value for an error: "`30` (number)". */
export function describe(value: unknown): string {
  if (value === undefined || value === null) return `\`${value}\``
  if (typeof value === 'function' || typeof value === 'symbol' || typeof value === 'bigint') return `a ${typeof value}`
  if (typeof value === 'object') {
    if (dateMs(value) !== undefined) return 'an invalid Date'
    return isArray(value) ? 'an array' : 'an object'
  }
  const text = String(value)
  return `\`${text.length > 100 ? `${text.slice(0, 100)}…` : text}\` (${typeof value})`
}

/** The known word at the smallest edit distance, if that is small enough to be a slip. */
export function closest(word: string, known: readonly string[]): string | undefined {
  const ranked = known.map((name) => ({ name, distance: editDistance(word.toLowerCase(), name.toLowerCase()) }))
  const best = ranked.sort((a, b) => a.distance - b.distance)[0]
  return best && best.distance <= Math.max(2, Math.floor(word.length / 3)) ? best.name : undefined
}

// --- internal ---

function parseDuration(value: unknown): number | undefined {
  if (typeof value === 'number') return value
  const match = typeof value === 'string' ? /^(\d+(?:\.\d+)?)(ms|s|m|h|d)$/.exec(value) : null
  return match ? Number(match[1]) * unitMs[match[2]!]! : undefined
}

/** The time of a Date, NaN for an invalid one; undefined for what only looks like one. Asks no code of the caller. */
function dateMs(value: unknown): number | undefined {
  try {
    return Date.prototype.getTime.call(value as Date)
  } catch {
    return undefined
  }
}

/** A revoked Proxy throws even here. */
function isArray(value: unknown): value is readonly unknown[] {
  try {
    return Array.isArray(value)
  } catch {
    return false
  }
}

function show(bound: Duration): string {
  return typeof bound === 'number' ? `${bound}ms` : bound
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
