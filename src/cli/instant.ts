/**
 * Instants as exact microseconds. PostgreSQL keeps microseconds and a JavaScript Date does not, so a message claimed
 * 40 µs early would look punctual if instants went through Date. Microseconds since 1970 fit a double exactly until
 * the year 2255; what lies beyond is refused rather than rounded.
 */

/**
 * Parses an ISO 8601 instant with a zone (`2026-01-02T03:04:05.123456Z`, or PostgreSQL's `2026-01-02 03:04:05.12+00`)
 * into microseconds since 1970-01-01T00:00:00Z. Digits beyond the sixth decimal are dropped.
 * Throws a RangeError for anything else: no zone, a day that does not exist, `infinity`.
 */
export function parseInstant(text: string): number {
  const micros = instantOrNull(text)
  if (micros === null) {
    throw new RangeError(`Expected an instant such as 2026-01-02T03:04:05.123456Z, got ${JSON.stringify(text)}`)
  }
  return micros
}

/** Like {@link parseInstant}, but answers null for a text that is not an instant. */
export function instantOrNull(text: string): number | null {
  const match = INSTANT.exec(text)
  if (match === null) return null
  const [, date = '', time = '', fraction = '', sign, zoneHours = '0', zoneMinutes = '0'] = match
  const wholeMs = Date.parse(`${date}T${time}Z`)
  // Date.parse takes the 30th of February and 24:00 and answers another day, so the text is compared with what it meant.
  if (Number.isNaN(wholeMs) || !new Date(wholeMs).toISOString().startsWith(`${date}T${time}`)) return null
  if (Number(zoneHours) > 15 || Number(zoneMinutes) > 59) return null
  const zoneMs = (Number(zoneHours) * 60 + Number(zoneMinutes)) * 60_000 * (sign === '-' ? -1 : 1)
  const micros = (wholeMs - zoneMs) * 1000 + Number(fraction.slice(0, 6).padEnd(6, '0'))
  return Number.isSafeInteger(micros) ? micros : null
}

const INSTANT = /^(\d{4}-\d\d-\d\d)[T ](\d\d:\d\d:\d\d)(?:\.(\d{1,9}))?(?:Z|([+-])(\d\d)(?::?(\d\d))?)$/
