/**
 * NDJSON: one JSON object a line. The time is in `at` (an instant), `offset` or `delay` (milliseconds or a duration);
 * the payload is in `payload`, or is whatever else the object holds. A file keeps to the one it begins with: instants
 * and offsets have no common zero.
 */
import { splitLines } from '../lines.js'
import {
  AN_INSTANT,
  AN_OFFSET,
  type Arrival,
  ArrivalsError,
  createInstantReader,
  got,
  offsetOrNull,
} from './arrival.js'

export async function* readNdjson(
  path: string,
  chunks: AsyncIterable<string>,
): AsyncGenerator<Arrival, void, undefined> {
  const readInstant = createInstantReader()
  let first: { readonly line: number; readonly key: string } | undefined
  for await (const { line, text } of splitLines(chunks)) {
    if (text.trim() === '') continue
    const record = parseObject(text)
    if (record === null) throw new ArrivalsError(path, line, `one JSON object on the line, ${got(text)}`)
    const keys = TIME_KEYS.filter((candidate) => Object.hasOwn(record, candidate))
    const [key] = keys
    if (key === undefined || keys.length > 1) {
      throw new ArrivalsError(path, line, `one of 'at', 'offset' and 'delay', got ${keys.join(' and ') || 'none'}`)
    }
    first ??= { line, key }
    if (first.key !== key) throw new ArrivalsError(path, line, `'${first.key}' as on line ${first.line}, got '${key}'`)
    const { [key]: time, ...rest } = record
    const offsetMs = key === 'at' ? readInstant(time) : offsetOrNull(time)
    if (offsetMs === null) {
      throw new ArrivalsError(path, line, `'${key}' to be ${key === 'at' ? AN_INSTANT : AN_OFFSET}, ${got(time)}`)
    }
    yield { line, offsetMs, payload: Object.hasOwn(rest, 'payload') ? rest['payload'] : rest }
  }
}

const TIME_KEYS = ['at', 'offset', 'delay'] as const

function parseObject(text: string): Readonly<Record<string, unknown>> | null {
  try {
    const value: unknown = JSON.parse(text)
    return isObject(value) ? value : null
  } catch {
    return null
  }
}

function isObject(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}
