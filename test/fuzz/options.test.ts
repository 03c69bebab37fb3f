/** What needs no database: durations, instants, JSON, definitions, connections, and the text forms of values. */
import fc from 'fast-check'
import { describe, expect } from 'vitest'
import { connect, defineQueue, isDueqError, migrationSql } from '../../src/index.js'
import { jsonText } from '../../src/json.js'
import { durationMs, instantText, messageId, queueName, schemaName, wholeNumber } from '../../src/options.js'
import { arrayLiteral, instant, interval } from '../../src/text-form.js'
import { expectQuietProcess, fuzz } from './cases.js'
import { anything, bag, fragments, number, printable, text, thing } from './hostile.js'
import { canonical, verdictOf } from './verdict.js'

expectQuietProcess()
const any = (value: unknown): never => value as never

const units = { ms: 1, s: 1000, m: 60_000, h: 3_600_000, d: 86_400_000 }
const digits = fc.array(fc.constantFrom(...'0123456789'), { minLength: 1, maxLength: 30 }).map((all) => all.join(''))
const duration = fc.oneof(
  anything,
  fc.tuple(fc.oneof(fc.nat(), fc.double({ noNaN: true }), digits), fc.constantFrom(...Object.keys(units), 'w', 'M', '')).map((parts) => parts.join('')), // biome-ignore format: one line is enough
)

describe('durations', () => {
  fuzz('are milliseconds within their range, or refused', 90, [duration], async (value) => {
    const { result, error } = await verdictOf(() => durationMs('delay', value))
    if (error) return expect(error.code).toBe('duration.invalid')
    expect(result).toBeGreaterThanOrEqual(0)
    expect(result).toBeLessThanOrEqual(36_000 * units.d)
    const [, amount, unit] = /^([\d.]+)([a-z]+)$/.exec(String(value)) ?? []
    expect(result).toBe(typeof value === 'number' ? value : Number(amount) * units[unit as 's'])
  })

  fuzz(
    'become intervals of the same length, to the microsecond',
    60,
    [fc.double({ min: 0, max: 3.1104e12, noNaN: true })],
    (ms) => {
      const [, hours, rest] = /^(\d+) hours (\d+(?:\.\d{1,3})?(?:e-\d+)?) milliseconds$/.exec(interval(ms)!) ?? []
      expect(Math.abs(Number(hours) * 3_600_000 + Number(rest) - ms)).toBeLessThan(0.001)
      expect(Number(hours)).toBeLessThan(2 ** 31)
      expect(Number(rest)).toBeLessThan(2 ** 31)
    },
  )
})

describe('instants', () => {
  const two = fc.integer({ min: 0, max: 99 }).map((n) => String(n).padStart(2, '0'))
  const field = (min: number, max: number) => fc.integer({ min, max }).map((n) => String(n).padStart(2, '0'))
  const zone = fc.oneof(fc.constantFrom('Z', '', '+00', '-0330', '+15:59', '+16:00', '+24', 'z', ' UTC'), fc.tuple(fc.constantFrom('+', '-'), two, fc.constantFrom('', ':'), two).map((all) => all.join(''))) // biome-ignore format: two kinds
  const iso = fc
    .tuple(fc.integer({ min: 0, max: 10_100 }).map((year) => String(year).padStart(4, '0')), field(0, 13), field(0, 32), fc.constantFrom('T', ' ', 't', '_'), field(0, 25), field(0, 60), field(0, 61), fc.constantFrom('', '.1', '.123456', '.1234567', '.'), zone) // biome-ignore format: the fields of an instant
    .map(([y, mo, d, t, h, m, s, f, z]) => `${y}-${mo}-${d}${t}${h}:${m}:${s}${f}${z}`)

  fuzz('are ISO text with a zone, or refused', 90, [fc.oneof(anything, iso, fc.date())], async (value) => {
    const { result, error } = await verdictOf(() => instantText('at', value))
    if (error) return expect(error.code).toBe('instant.invalid')
    expect(result).toMatch(/^\d{4}-\d\d-\d\d[T ][\d:.]+(Z|[+-][\d:]+)$/)
    if (value instanceof Date) expect(Date.parse(result)).toBe(value.getTime())
    else expect(result).toBe(value)
  })

  const years = fc.integer({ min: -4712, max: 9999 })
  const zoneSeconds = fc.oneof(fc.constant(0), fc.integer({ min: -57_599, max: 57_599 }))
  const micros = fc.constantFrom('', '.5', '.123456', '.000001')
  fuzz(
    'come back from PostgreSQL as what JavaScript can read',
    50,
    [fc.date({ noInvalidDate: true }), years, zoneSeconds, micros],
    (date, year, offset, fraction) => {
      // biome-ignore format: the parts of an instant
      const shown = new Date(date.getTime())
      shown.setUTCFullYear(year, Math.min(shown.getUTCMonth(), 10), Math.min(shown.getUTCDate(), 28))
      shown.setUTCMilliseconds(0)
      const pad = (n: number, width = 2): string => String(n).padStart(width, '0')
      const size = Math.abs(offset)
      const seconds = size % 60
      const zoneText = `${offset < 0 ? '-' : '+'}${pad(Math.floor(size / 3600))}:${pad(Math.floor(size / 60) % 60)}${seconds ? `:${pad(seconds)}` : ''}`
      const local = `${pad(year > 0 ? year : 1 - year, 4)}${shown
        .toISOString()
        .replace(/^[+-]?\d+/, '')
        .slice(0, 15)}`
      const parsed = Date.parse(instant(`"${local}${fraction}${zoneText}${year > 0 ? '' : ' BC'}"`)!)
      expect(parsed).toBe(shown.getTime() - offset * 1000 + Math.floor(Number(`0${fraction}`) * 1000))
    },
  )
})

describe('names, ids and numbers', () => {
  fuzz('are what the SQL functions take, or refused', 60, [anything, number], async (value, count) => {
    const name = await verdictOf(() => queueName(value))
    if (!name.error) expect(value).toMatch(/^[\w][\w.:/-]{0,119}$/)
    const id = await verdictOf(() => messageId(value))
    if (!id.error) expect(BigInt(id.result)).toBeLessThanOrEqual(2n ** 63n - 1n)
    const schema = await verdictOf(() => schemaName(value))
    if (!schema.error) expect(value).toMatch(/^[a-z_][a-z0-9_]{0,49}$/)
    const whole = await verdictOf(() => wholeNumber('max', count, 1, 10_000))
    if (!whole.error) expect(whole.result % 1).toBe(0)
    for (const { error } of [name, id, schema, whole]) if (error) expect(error.code).toMatch(/^(option|queue)\.invalid/)
  })
})

describe('JSON', () => {
  const deep = fc.letrec((tie) => ({ value: fc.oneof({ maxDepth: 3 }, anything, fc.array(tie('value'), { maxLength: 3 }), fc.dictionary(text, tie('value'), { maxKeys: 3 })) })).value // biome-ignore format: a tree
  fuzz('is the text of the value, or refused', 70, [deep], async (value) => {
    const { result, error } = await verdictOf(() => jsonText('payload', value))
    if (error) return expect(error.code).toMatch(/^payload\.(not_json|too_large)$/)
    expect(canonical(JSON.parse(result))).toBe(canonical(JSON.parse(JSON.stringify(value))))
    expect(result).not.toContain('\\u0000".')
    expect(Buffer.byteLength(result)).toBeLessThanOrEqual(1_048_576)
    expect(result.isWellFormed()).toBe(true)
  })
})

describe('array literals', () => {
  fuzz(
    'keep every text apart',
    50,
    [fc.array(fc.option(fc.oneof(printable, fc.constantFrom(...fragments))))],
    async (values) => {
      // Nothing is written as an empty text, which is no value of any of these columns; the statement makes null of it.
      const wanted = values.map((value) => value ?? '')
      expect(readLiteral(await arrayLiteral(values, (value) => value))).toEqual(wanted)
    },
  )
})

describe('definitions and connections', () => {
  const good = fc.constantFrom<unknown>('30s', 1000, 20, undefined)
  const settings = bag({ lease: good, maxAttempts: good, backoff: bag({ base: good, max: good }), pollInterval: good, payload: fc.constant(undefined) }) // biome-ignore format: all settings
  fuzz(
    'a definition is whole, or refused',
    60,
    [fc.oneof(anything, fc.constant('q')), settings],
    async (name, given) => {
      const { result } = await verdictOf(() => defineQueue(any(name), any(given)))
      if (result) expect([result.name, Object.isFrozen(result)]).toEqual([name, true])
    },
  )

  const url = fc.oneof(
    fc.constantFrom('postgres://u:p@127.0.0.1:1/d', 'postgres://[::1]:1,h2/d', 'postgresql://h'),
    text,
  )
  const options = bag({ url, sql: thing, pool: thing, query: fc.constant(async () => []), schema: text, listenUrl: text, listen: fc.boolean(), prepare: fc.boolean(), max: number, timeout: duration, name: text, onEvent: fc.constant(() => {}) }) // biome-ignore format: all options
  fuzz(
    'connect gives a client that closes, or refuses',
    60,
    [fc.oneof(anything, options), options, anything],
    async (target, more, stop) => {
      const { result } = await verdictOf(() => connect(any(target), any(more)))
      if (!result) return
      await verdictOf(() => result.queue(any(more)))
      await verdictOf(() => result.in(any(stop)))
      await verdictOf(() => result.close(any(stop)))
      expect(await result.close()).toEqual({ finished: 0, released: 0, stillRunning: 0 })
    },
  )

  const bad = bag({ url: text, schema: text, directory: text.map((path) => `/nowhere/${path.replaceAll('\0', '').slice(0, 100)}`), log: fc.constant(() => {}) }) // biome-ignore format: all options
  fuzz('migrations are printed, or refused', 30, [bad], async (given) => {
    const { result } = await verdictOf(() => migrationSql(any(given)))
    if (result !== undefined) expect(result).toMatch(/^begin;/)
  })

  fuzz('isDueqError answers about anything', 10, [anything], (value) => {
    if (isTrap(value)) return
    expect(isDueqError(value)).toBe(false)
  })
})

// --- internal ---

/** Reads an array literal as the documentation of PostgreSQL has it. */
function readLiteral(literal: string): string[] {
  const items = [...literal.slice(1, -1).matchAll(/"((?:[^"\\]|\\.)*)"(?:,|$)/gsu)]
  return items.map(([, quoted]) => quoted!.replace(/\\(.)/gsu, '$1'))
}

function isTrap(value: unknown): boolean {
  try {
    return value instanceof Error
  } catch {
    return true
  }
}
