import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { gzipSync } from 'node:zlib'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import {
  type Arrival,
  ArrivalsError,
  type ArrivalsFormat,
  readArrivals,
  scaleArrivals,
} from '../../src/cli/arrivals.js'

let directory: string
beforeAll(() => {
  directory = mkdtempSync(join(tmpdir(), 'dueq-arrivals-'))
})
afterAll(() => rmSync(directory, { recursive: true }))

async function read(name: string, content: string | Uint8Array, format?: ArrivalsFormat): Promise<Arrival[]> {
  const path = join(directory, name)
  writeFileSync(path, content)
  const arrivals: Arrival[] = []
  for await (const arrival of readArrivals(path, { format })) arrivals.push(arrival)
  return arrivals
}

async function errorOf(name: string, content: string | Uint8Array): Promise<ArrivalsError> {
  const error: unknown = await read(name, content).catch((caught: unknown) => caught)
  if (!(error instanceof ArrivalsError)) throw new Error(`Expected an ArrivalsError, got ${String(error)}`)
  expect(error.code).toBe('arrivals.invalid')
  expect(error.message.startsWith(join(directory, name))).toBe(true)
  return error
}

const SWF = `; Version: 2.2
    1        0     -1   1451  128     -1    -1   -1     -1    -1 -1   1   1  -1 -1 -1 -1 -1

    2     1460     -1     -1  128     -1    -1   -1     -1    -1 -1  -1   1  -1 -1 -1 -1 -1
`

describe('standard workload format', () => {
  it('reads submit time, run time and user past comments and blanks', async () => {
    expect(await read('log.swf', SWF)).toEqual([
      { line: 2, offsetMs: 0, payload: { job: 1, runTimeSeconds: 1451, user: 1 } },
      { line: 4, offsetMs: 1_460_000, payload: { job: 2, runTimeSeconds: null, user: null } },
    ])
  })
  it.each([
    ['1 2 3\n', 1, 'at least 12 columns'],
    [`${SWF}3 x -1 1 1 1 1 1 1 1 1 1`, 5, 'a number in column 2, got "x"'],
    ['3 -1 -1 1 1 1 1 1 1 1 1 1', 1, 'a submit time'],
  ])('refuses a bad line and says which', async (content, line, expected) => {
    const error = await errorOf('bad.swf', content)
    expect(error.line).toBe(line)
    expect(error.message).toContain(`bad.swf:${line}: expected ${expected}`)
  })
})

describe('NDJSON', () => {
  it('counts instants from the first, to the microsecond, back as well', async () => {
    const content = [
      '{"at":"2026-01-01T00:00:01.000001Z","user":1}',
      '',
      '{"at":"2026-01-01T01:00:01.000501+01:00","payload":null}\r',
      '{"at":"2026-01-01T00:00:00.000001Z"}',
    ].join('\n')
    expect(await read('a.ndjson', content)).toEqual([
      { line: 1, offsetMs: 0, payload: { user: 1 } },
      { line: 3, offsetMs: 0.5, payload: null },
      { line: 4, offsetMs: -1000, payload: {} },
    ])
  })
  it('takes offsets as milliseconds or durations, as written', async () => {
    const content = '{"delay":250,"payload":[1]}\n{"delay":"1.5s"}\n{"delay":"7d"}\n{"delay":"10m"}'
    expect((await read('a.jsonl', content)).map(({ offsetMs }) => offsetMs)).toEqual([250, 1500, 604_800_000, 600_000])
  })
  it.each([
    ['{"offset":1}\n{"offset":\n', 2, 'one JSON object on the line, got "{\\"offset\\":"'],
    ['[1]', 1, 'one JSON object'],
    ['{"when":1}', 1, "one of 'at', 'offset' and 'delay', got none"],
    ['{"at":"2026-01-01T00:00:00Z","delay":1}', 1, "one of 'at', 'offset' and 'delay', got at and delay"],
    ['{"delay":1}\n\n{"at":"2026-01-01T00:00:00Z"}', 3, "'delay' as on line 1, got 'at'"],
    ['{"at":"2026-01-01 00:00:00"}', 1, "'at' to be an instant"],
    ['{"delay":"soon"}', 1, "'delay' to be an offset"],
    ['{"delay":-1}', 1, "'delay' to be an offset"],
  ])('refuses %j', async (content, line, expected) => {
    const error = await errorOf('bad.ndjson', content)
    expect(error.line).toBe(line)
    expect(error.message).toContain(`expected ${expected}`)
  })
})

describe('CSV', () => {
  it('reads quotes, commas, quotes in quotes and line breaks in quotes, and counts lines', async () => {
    const content = 'user,at,note\r\n1,2026-01-01T00:00:00Z,"a, ""b""\r\nc"\r\n\r\n"2",2026-01-01T00:00:01Z,\r\n'
    expect(await read('a.csv', content)).toEqual([
      { line: 2, offsetMs: 0, payload: { user: '1', note: 'a, "b"\r\nc' } },
      { line: 5, offsetMs: 1000, payload: { user: '2', note: '' } },
    ])
  })
  it('reads a payload as JSON, and needs no line break at the end', async () => {
    const content = 'offset_seconds,payload\n1.5,"{""a"":[1]}"\n0,7'
    expect(await read('a.csv', content)).toEqual([
      { line: 2, offsetMs: 1500, payload: { a: [1] } },
      { line: 3, offsetMs: 0, payload: 7 },
    ])
  })
  it.each([
    ['at', '2026-01-01T00:00:00Z', 0],
    ['due_at', '2026-01-01 00:00:00+00', 0],
    ['Timestamp', '2026-01-01T00:00:00Z', 0],
    ['delay', '10s', 10_000],
    ['offset', '10', 10],
  ])('takes the time from a column named %s', async (column, value, offsetMs) => {
    expect(await read('a.csv', `${column},x\n${value},1`)).toEqual([{ line: 2, offsetMs, payload: { x: '1' } }])
  })
  it('prefers the instant a message is due to when it was noted', async () => {
    const content = 'time,due_at\n2026-01-01T00:00:00Z,2026-01-01T00:00:00Z\n2026-01-01T00:00:00Z,2026-01-01T00:00:05Z'
    expect((await read('a.csv', content)).map(({ offsetMs }) => offsetMs)).toEqual([0, 5000])
  })
  it('gives the same records wherever the chunks of the file end', async () => {
    const rows = Array.from({ length: 20_000 }, (_, index) => `${index},"éàüéàüé ""${index}""\r\n"`)
    const arrivals = await read('long.csv', `offset,x\r\n${rows.join('\r\n')}`)
    expect(arrivals).toHaveLength(20_000)
    expect(
      arrivals.findIndex(({ offsetMs, line, payload }, index) => {
        return offsetMs !== index || line !== 2 + 2 * index || (payload as { x: string }).x !== `éàüéàüé "${index}"\r\n`
      }),
    ).toBe(-1)
  })
  it.each([
    ['user,x\n', 1, 'a header with one of at,'],
    ['at,x,x\n', 1, "every column name once, got 'x' twice"],
    ['offset,x\n1\n', 2, '2 fields as in the header, got 1'],
    ['offset,x\n1,"a\nb"\n2,a"b\n', 4, 'quotes around a whole field'],
    ['offset,x\n1,"a"b\n', 2, 'a comma or the end of the line after a closing quote'],
    ['offset,x\n1,2\n1,"a\n\n', 3, 'the quote that opens here to be closed'],
    ['time,x\n1767225600,2\n', 2, "'time' to be an instant"],
    ['offset_seconds,x\n1m,2\n', 2, "'offset_seconds' to be seconds"],
    ['offset,payload\n1,hello\n', 2, "'payload' to be JSON"],
  ])('refuses %j', async (content, line, expected) => {
    const error = await errorOf('bad.csv', content)
    expect(error.message).toContain(`:${line}: expected ${expected}`)
    expect(error.line).toBe(line)
  })
})

describe('files', () => {
  it('are unzipped by what they hold, whatever their name', async () => {
    const plain = await read('log.swf', SWF)
    expect(await read('log.swf', gzipSync(SWF))).toEqual(plain)
    expect(await read('log.swf.gz', gzipSync(SWF))).toEqual(plain)
    expect(await read('log.swf.gz', SWF)).toEqual(plain)
  })
  it.each([
    ['swf', SWF],
    ['swf', SWF.slice(SWF.indexOf('\n'))],
    ['ndjson', '\n\n {"delay":0}'],
    ['csv', '\ufeffdelay,x\n0,1'],
  ] as const)('are recognised as %s by their beginning', async (format, content) => {
    expect(await read('trace', content)).toEqual(await read('trace', content, format))
    expect(await read('trace.gz', gzipSync(content))).toHaveLength(format === 'swf' ? 2 : 1)
  })
  it('may be empty', async () => {
    expect(await read('empty', '')).toEqual([])
  })
  it('that are cut short, or are no text, are refused as a whole', async () => {
    const zipped = gzipSync(SWF.repeat(100))
    expect((await errorOf('cut.swf.gz', zipped.subarray(0, -9))).message).toContain(
      'expected a whole and sound gzip file',
    )
    expect((await errorOf('latin.csv', Buffer.from('delay,x\n0,\xe9\n', 'latin1'))).message).toContain(
      'expected UTF-8 text',
    )
  })
  it('that do not exist throw the error of the system', async () => {
    await expect(readArrivals(join(directory, 'none')).next()).rejects.toMatchObject({ code: 'ENOENT' })
  })
  it('may be left in the middle', async () => {
    const path = join(directory, 'long.swf.gz')
    writeFileSync(path, gzipSync(SWF.repeat(20_000)))
    let count = 0
    for await (const _ of readArrivals(path)) if (++count === 10) break
    expect(count).toBe(10)
  })
})

describe('scaleArrivals', () => {
  it('fits the span into a time', () => {
    expect(scaleArrivals([500, 100, 1100], { inMs: 10 })).toEqual([4, 0, 10])
    expect(scaleArrivals([5, 5], { inMs: 10 })).toEqual([0, 0])
    expect(scaleArrivals([], { inMs: 10 })).toEqual([])
  })
  it('passes the time faster', () => {
    expect(scaleArrivals([-1000, 0, 60_000], { speed: 100 })).toEqual([0, 10, 610])
  })
  it.each([{ inMs: 0 }, { speed: -1 }, { speed: Number.POSITIVE_INFINITY }, { inMs: Number.NaN }])(
    'refuses %j',
    (scale) => {
      expect(() => scaleArrivals([1], scale)).toThrow(RangeError)
    },
  )
})
