// How values travel to PostgreSQL and back: as text, in a form that no setting of the server or of a driver changes.
import type { Query, Row } from './driver.js'
import { DueqError } from './errors.js'
import { createRest } from './turns.js'

/** The first column of the first row. */
export async function firstColumn(
  query: Query,
  text: string,
  params: readonly (string | null)[],
): Promise<string | null> {
  return (await query(text, params))[0]?.[0] ?? null
}

/** The row that a statement always gives, unless something between us and the database loses rows. */
export function given(row: Row | undefined): Row {
  if (row) return row
  throw new DueqError(
    'connection.invalid',
    'The connection gave no row for a statement that has one: it must give all rows.',
  )
}

/**
 * PostgreSQL writes an instant as a JSON string; the quotes go. Two of its forms JavaScript cannot read, and both are in reach
 * of an `at` in the past: years BC, and zones of former times, which were off by seconds as well.
 */
export function instant(json: string | null): string | null {
  if (json === null) return null
  const text = json.slice(1, -1)
  const old = /^(\d{4,6})(-.*?)([+-])(\d\d):(\d\d)(?::(\d\d))?( BC)?$/.exec(text)
  if (!old || (old[6] === undefined && old[7] === undefined)) return text
  const [, year, rest, sign, hours, minutes, seconds = '0', isBc] = old
  const micros = /\.(\d+)$/.exec(rest!)?.[1]
  const yearsBefore = Number(year) - 1 // the year before 1 is 1 BC here, and 0 in ISO 8601
  const astronomical = !isBc ? year : yearsBefore === 0 ? '0000' : `-${String(yearsBefore).padStart(6, '0')}`
  const zoneMs = (Number(hours) * 3600 + Number(minutes) * 60 + Number(seconds)) * (sign === '-' ? -1000 : 1000)
  const utc = new Date(Date.parse(`${astronomical}${rest!.replace(/\.\d+$/, '')}Z`) - zoneMs).toISOString()
  return micros === undefined ? utc : utc.replace('.000Z', `.${micros}Z`)
}

/**
 * Milliseconds as an interval, to the microsecond. In hours and a rest, because before PostgreSQL 15 no field of an
 * interval goes beyond 2^31 (24 days of milliseconds), and because days are not always of 24 hours.
 */
export function interval(ms: number | undefined): string | null {
  if (ms === undefined) return null
  const hours = Math.floor(ms / 3_600_000)
  return `${hours} hours ${Number((ms - hours * 3_600_000).toFixed(3))} milliseconds`
}

/** A number as text. */
export function number(value: number | undefined): string | null {
  return value === undefined ? null : String(value)
}

/** An array in the text form of PostgreSQL: every element quoted, so that none is read as null or as two; none as empty. */
export async function arrayLiteral<T>(
  items: readonly T[],
  pick: (item: T) => string | null,
  quote: (text: string) => string = quoted,
): Promise<string> {
  const rest = createRest()
  const elements: string[] = []
  for (const item of items) {
    elements.push(quote(pick(item) ?? ''))
    const pause = rest()
    if (pause) await pause
  }
  return `{${elements.join()}}`
}

function quoted(text: string): string {
  return `"${text.replace(/["\\]/g, '\\$&')}"`
}

/**
 * SQL for an array parameter of which most messages have no element: an empty text, made null here. Written as null into the
 * array it would be the text 'null' where a session has `array_nulls` off, and as a dedup key that would swallow messages.
 */
export function sparse(parameter: number): string {
  return `pg_catalog.array_replace($${parameter}::text::text[], '', null)`
}
