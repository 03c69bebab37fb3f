import { describe, expect, it } from 'vitest'
import { instantOrNull, parseInstant } from '../../src/cli/instant.js'

describe('instants are exact microseconds', () => {
  it('keeps every microsecond', () => {
    const micros = parseInstant('2026-01-02T03:04:05.123456Z')
    expect(micros).toBe(Date.parse('2026-01-02T03:04:05Z') * 1000 + 123_456)
    expect(parseInstant('2026-01-02T03:04:05.123457Z') - micros).toBe(1)
  })

  it('pads a short fraction on the right', () => {
    expect(parseInstant('1970-01-01T00:00:00.5Z')).toBe(500_000)
    expect(parseInstant('1970-01-01T00:00:00.000001999Z')).toBe(1)
  })

  it('goes below 1970', () => {
    expect(parseInstant('1969-12-31T23:59:59.999999Z')).toBe(-1)
  })

  it.each(['2026-01-02 05:04:05+02', '2026-01-02T08:34:05+0530', '2026-01-01T19:04:05-08:00'])(
    'reads the zone of %s',
    (text) => {
      expect(parseInstant(text)).toBe(parseInstant('2026-01-02T03:04:05Z'))
    },
  )

  it.each([
    '',
    'infinity',
    '2026-01-02',
    '2026-01-02T03:04:05',
    '2026-02-30T00:00:00Z',
    '2026-01-02T24:00:00Z',
    '9999-01-01T00:00:00Z',
  ])('refuses %j', (text) => {
    expect(instantOrNull(text)).toBeNull()
    expect(() => parseInstant(text)).toThrow(RangeError)
  })
})
