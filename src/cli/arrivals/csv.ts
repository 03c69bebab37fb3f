/**
 * CSV with a header line (RFC 4180). The time is the first of these columns that exists: `at`, `due_at`, `ready_at`,
 * `timestamp`, `time` (an instant), `offset_seconds` (a number), `offset`, `delay` (milliseconds or a duration).
 * The payload is the column `payload` as JSON, or an object of all other columns as texts.
 */
import {
  AN_INSTANT,
  AN_OFFSET,
  type Arrival,
  ArrivalsError,
  createInstantReader,
  finiteOrNull,
  got,
  offsetOrNull,
} from './arrival.js'
import { type CsvRecord, splitCsv } from './csv-records.js'

export async function* readCsv(path: string, chunks: AsyncIterable<string>): AsyncGenerator<Arrival, void, undefined> {
  let toArrival: ((record: CsvRecord) => Arrival) | undefined
  for await (const record of splitCsv(path, chunks)) {
    if (toArrival === undefined) toArrival = readHeader(path, record)
    else yield toArrival(record)
  }
}

function readHeader(path: string, { line, fields }: CsvRecord): (record: CsvRecord) => Arrival {
  const names = fields.map((field) => field.trim())
  const twice = names.find((name, index) => names.indexOf(name) !== index)
  if (twice !== undefined) throw new ArrivalsError(path, line, `every column name once, got '${twice}' twice`)
  const lowerCase = names.map((name) => name.toLowerCase())
  const timeName = TIME_COLUMNS.find((name) => lowerCase.includes(name))
  if (timeName === undefined) {
    throw new ArrivalsError(path, line, `a header with one of ${TIME_COLUMNS.join(', ')}, ${got(names.join(','))}`)
  }
  const timeColumn = lowerCase.indexOf(timeName)
  const payloadColumn = lowerCase.indexOf('payload')
  const readTime = timeReader(timeName)
  const expectedTime = timeName === 'offset_seconds' ? 'seconds' : OFFSETS.includes(timeName) ? AN_OFFSET : AN_INSTANT

  return (record) => {
    const { fields, line } = record
    if (fields.length !== names.length) {
      throw new ArrivalsError(path, line, `${names.length} fields as in the header, got ${fields.length}`)
    }
    const time = fields[timeColumn] ?? ''
    const offsetMs = readTime(time.trim())
    if (offsetMs === null)
      throw new ArrivalsError(path, line, `'${names[timeColumn]}' to be ${expectedTime}, ${got(time)}`)
    if (payloadColumn !== -1) return { line, offsetMs, payload: parsePayload(path, line, fields[payloadColumn] ?? '') }
    const others = names
      .map((name, column) => [name, fields[column]] as const)
      .filter((_, column) => column !== timeColumn)
    return { line, offsetMs, payload: Object.fromEntries(others) }
  }
}

function timeReader(column: string): (value: string) => number | null {
  if (column === 'offset_seconds')
    return (value) => (/^\d+(\.\d+)?$/.test(value) ? finiteOrNull(Number(value) * 1000) : null)
  return OFFSETS.includes(column) ? offsetOrNull : createInstantReader()
}

function parsePayload(path: string, line: number, text: string): unknown {
  try {
    return JSON.parse(text)
  } catch (cause) {
    throw new ArrivalsError(path, line, `'payload' to be JSON, ${got(text)}`, { cause })
  }
}

const TIME_COLUMNS = ['at', 'due_at', 'ready_at', 'timestamp', 'time', 'offset_seconds', 'offset', 'delay'] as const
const OFFSETS: readonly string[] = ['offset', 'delay']
