/** The readers of files: whatever is in them they end, say which line is wrong, and read the same in pieces of any size. */
import { appendFileSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { gzipSync } from 'node:zlib'
import fc from 'fast-check'
import { afterAll, beforeAll, describe, expect } from 'vitest'
import { type Arrival, ArrivalsError } from '../../src/cli/arrivals/arrival.js'
import { readCsv } from '../../src/cli/arrivals/csv.js'
import { readNdjson } from '../../src/cli/arrivals/ndjson.js'
import { readSwf } from '../../src/cli/arrivals/swf.js'
import { readArrivals } from '../../src/cli/arrivals.js'
import { enqueueFile } from '../../src/cli/enqueue-file.js'
import { readJournals } from '../../src/cli/journal.js'
import { isDueqError } from '../../src/index.js'
import { expectQuietProcess, fuzz } from './cases.js'
import { printable, text } from './hostile.js'
import { canonical, expectDueqError } from './verdict.js'

let directory: string
beforeAll(() => {
  directory = mkdtempSync(join(tmpdir(), 'dueq-fuzz-'))
})
afterAll(() => rmSync(directory, { recursive: true }))
expectQuietProcess()

/** Where a text is cut. */
const cuts = fc.array(fc.nat(200), { maxLength: 8 })
const lineOf = (...cells: fc.Arbitrary<unknown>[]) => fc.tuple(...cells).map((all) => all.join(''))
const linesOf = (line: fc.Arbitrary<string>) =>
  fc.tuple(fc.array(line, { maxLength: 6 }), fc.constantFrom('\n', '\r\n')).map(([lines, end]) => lines.join(end))

const time = fc.oneof(
  fc.constantFrom('2026-01-01T00:00:00Z', '2026-01-01 00:00:00.000001+00', '"1.5s"', '250', '0', '1e400', '"7d"', '-1'),
  fc.nat().map(String),
  printable.map((value) => JSON.stringify(value)),
)

describe('NDJSON of arrivals', () => {
  const key = fc.constantFrom('at', 'offset', 'delay', 'payload', 'x', '__proto__')
  const json = fc.oneof(time, fc.json(), printable)
  const object = lineOf(fc.constant('{'), key.map((k) => JSON.stringify(k)), fc.constant(':'), json, fc.constantFrom('}', ',"payload":1}', ',"at":"2026-01-01T00:00:00Z"}', '')) // biome-ignore format: a line
  const input = linesOf(fc.oneof({ weight: 4, arbitrary: object }, text))
  fuzz('any text gives arrivals or the line of its error, in pieces of any size', 90, [input, cuts], (given, at) =>
    readsAlike(readNdjson, given, at),
  )
})

describe('SWF', () => {
  const column = fc.oneof(
    { weight: 6, arbitrary: fc.integer() },
    fc.constantFrom('-1', '1e308', '1e309', 'x', ';', '0x1', ''),
  )
  const record = fc.array(column, { minLength: 10, maxLength: 19 }).map((columns) => columns.join(' '))
  const input = linesOf(fc.oneof({ weight: 4, arbitrary: record }, fc.constant('; Version: 2'), text))
  fuzz('any text gives arrivals or the line of its error, in pieces of any size', 70, [input, cuts], (given, at) =>
    readsAlike(readSwf, given, at),
  )
})

describe('CSV', () => {
  const field = fc.oneof(fc.constantFrom('', '1', '"', '""', '"a"', '"a,b"', '"a\nb"', 'a"b', '"a"b'), time, text)
  const row = fc.array(field, { minLength: 1, maxLength: 3 }).map((fields) => fields.join(','))
  const header = fc.constantFrom(
    'delay,x',
    'at,payload',
    'offset',
    'offset_seconds,x',
    'x,y',
    'delay,delay',
    '\ufeffdelay,x',
  )
  const input = fc.tuple(header, linesOf(row)).map((parts) => parts.join('\n'))
  fuzz('any text gives arrivals or the line of its error, in pieces of any size', 90, [input, cuts], (given, at) =>
    readsAlike(readCsv, given, at),
  )

  const table = fc.array(fc.tuple(fc.nat(), text, text), { maxLength: 6 })
  fuzz(
    'quoted fields come back as they were written',
    70,
    [table, fc.constantFrom('\n', '\r\n', '\r'), cuts],
    async (rows, end, at) => {
      // biome-ignore format: one line is enough
      const quoted = (value: string): string => `"${value.replaceAll('"', '""')}"`
      const given = [['delay', 'a', 'b'], ...rows]
        .map((row) => row.map((value) => quoted(String(value))).join(','))
        .join(end)
      const { arrivals, error } = await read(readCsv, pieces(given, at))
      expect(error).toBeUndefined()
      expect(arrivals.map(({ offsetMs, payload }) => [offsetMs, payload])).toEqual(
        rows.map(([ms, a, b]) => [ms, { a, b }]),
      )
    },
  )
})

describe('files', () => {
  const bytes = fc.oneof(
    fc.uint8Array({ maxLength: 200 }),
    text.map((value) => Buffer.from(value)),
    fc.tuple(text, fc.nat(20)).map(([value, cut]) => gzipSync(value).subarray(0, cut > 10 ? -cut : undefined)),
    fc.tuple(fc.constantFrom('delay,x\n1,', '{"delay":1,"x":', '1 1 '), fc.uint8Array()).map((all) => Buffer.concat(all.map((part) => Buffer.from(part)))), // biome-ignore format: beginnings of each format
  )
  fuzz('any bytes give arrivals, or an error that names the file', 25, [bytes], async (content) => {
    const path = join(directory, 'arrivals')
    writeFileSync(path, content)
    const { arrivals, error } = await read(() => readArrivals(path), [])
    if (error) expect(error.message.startsWith(path)).toBe(true)
    else expect(arrivals.every(({ offsetMs }) => Number.isFinite(offsetMs))).toBe(true)
  })

  const record = fc.constantFrom('{"type":"settled","id":"1"}', '{"type":"claimed"}', '{"type":"enqueued","id":null}')
  const line = fc.oneof(record, fc.constantFrom('{"type":1}', '[]', 'null', '{"type":"settled"', ''), text)
  fuzz(
    'a journal is read up to its torn end, or says which line is wrong',
    25,
    [fc.array(line), fc.boolean()],
    async (lines, isTorn) => {
      // biome-ignore format: one line is enough
      const path = join(directory, 'journal')
      writeFileSync(path, lines.map((one) => `${one}\n`).join(''))
      if (isTorn) appendFileSync(path, '{"type":"cla')
      const records: unknown[] = []
      try {
        for await (const one of readJournals([path])) records.push(one)
        expect(records.length).toBe(lines.join('\n') === '' && lines.length === 0 ? 0 : lines.length)
      } catch (error) {
        const message = (error as Error).message
        expect(message.startsWith(`${path}:${records.length + 1}: expected a journal record, got `), message).toBe(true)
      }
    },
  )

  const item = fc.oneof(fc.json(), printable).map((value) => `{"payload":${value}}`)
  const damaged = fc.tuple(linesOf(item), fc.uint8Array({ maxLength: 6 })).map(([before, some]) => {
    const high = Buffer.from(some.filter((byte) => byte > 127))
    return Buffer.concat([Buffer.from(`${before}\n{"payload":"`), high, Buffer.from('"}\n{"payload":1}')])
  })
  const lines = linesOf(fc.oneof(item, text)).map((value) => Buffer.from(value))
  const content = fc.oneof(damaged, lines, fc.uint8Array())
  fuzz('a file of messages is enqueued, or the error says which line is wrong', 30, [content], async (given) => {
    const path = join(directory, 'messages')
    writeFileSync(path, given)
    const seen: unknown[] = []
    const enqueueMany = async (items: Iterable<{ payload: unknown }>) => {
      const all = [...items]
      seen.push(...all.map(({ payload }) => payload))
      return all.map(() => ({ id: '1', created: true }))
    }
    const producer = { enqueueMany, enqueue: () => Promise.reject(new Error('not called')) } as never
    const { signal } = new AbortController()
    const lines = Buffer.from(given).toString().split('\n')
    try {
      const report = await enqueueFile(producer, { file: path, fromLine: 1, signal })
      expect(report.enqueued).toBe(seen.length)
      const wanted = lines
        .filter((one) => one.trim() !== '')
        .map((one) => JSON.parse(one.replace(/^\ufeff/, '')).payload)
      expect(canonical(seen)).toBe(canonical(wanted))
      expect(Buffer.from(lines.join('\n')).equals(Buffer.from(given)), 'what is no UTF-8 must not be enqueued').toBe(
        true,
      )
    } catch (error) {
      if (!isDueqError(error)) throw error
      expect(expectDueqError(error).code).toBe('line.invalid')
      const [, number] = /^Line (\d+) /.exec(error.message) ?? []
      expect(Number(number)).toBeGreaterThanOrEqual(1)
      expect(Number(number)).toBeLessThanOrEqual(lines.length)
      expect(seen).toEqual([])
    }
  })
})

// --- internal ---

type Reader = (path: string, chunks: AsyncIterable<string>) => AsyncIterable<Arrival>
type Read = { readonly arrivals: readonly Arrival[]; readonly error: ArrivalsError | undefined }

async function read(reader: Reader, chunks: readonly string[]): Promise<Read> {
  const arrivals: Arrival[] = []
  const stream = async function* () {
    yield* chunks
  }
  try {
    for await (const arrival of reader('a file', stream())) arrivals.push(arrival)
    return { arrivals, error: undefined }
  } catch (error) {
    if (!(error instanceof ArrivalsError)) throw error
    expect(error.message).toMatch(/: expected \S+/)
    return { arrivals, error }
  }
}

/** Cut at these places, and whole: the same arrivals, the same error. */
async function readsAlike(reader: Reader, given: string, at: readonly number[]): Promise<void> {
  const whole = await read(reader, [given])
  const lines = given.split(/\r\n|\n|\r/).length
  for (const { line, offsetMs } of whole.arrivals) {
    expect(line).toBeLessThanOrEqual(lines)
    expect(Number.isFinite(offsetMs)).toBe(true)
  }
  if (whole.error) {
    expect(whole.error.line).toBeGreaterThanOrEqual(1)
    expect(whole.error.line).toBeLessThanOrEqual(lines)
    expect(whole.error.message.length).toBeLessThan(400)
  }
  for (const chunks of [pieces(given, at), ...(given.length < 500 ? [[...given]] : [])]) {
    const inPieces = await read(reader, chunks)
    expect(inPieces.arrivals).toEqual(whole.arrivals)
    expect(inPieces.error?.message).toBe(whole.error?.message)
  }
}

/** Between characters: a decoder never gives half of one. */
function pieces(given: string, at: readonly number[]): string[] {
  const characters = [...given]
  const places = [0, ...at.map((place) => place % (characters.length + 1)).sort((a, b) => a - b), characters.length]
  return places.slice(1).map((place, i) => characters.slice(places[i], place).join(''))
}
