/**
 * Arrivals: a recorded pattern of messages, read from a file to be replayed. A file is read as a stream, so memory
 * stays flat whatever its size; gzip is recognised by its first bytes, the format by the file's name or else by how
 * its text begins.
 */
import { createReadStream } from 'node:fs'
import { Readable } from 'node:stream'
import { createGunzip } from 'node:zlib'
import { type Arrival, ArrivalsError } from './arrivals/arrival.js'
import { readCsv } from './arrivals/csv.js'
import { readNdjson } from './arrivals/ndjson.js'
import { readSwf } from './arrivals/swf.js'

export { type Arrival, ArrivalsError }

export type ArrivalsFormat = 'swf' | 'ndjson' | 'csv'

/**
 * Reads the arrivals of a file, in the file's order. Throws an {@link ArrivalsError} at the first record that is not
 * as its format wants it; a file that cannot be opened throws the system's error.
 */
export async function* readArrivals(
  path: string,
  options: { readonly format?: ArrivalsFormat } = {},
): AsyncGenerator<Arrival, void, undefined> {
  const text = readText(path)
  try {
    const beginning = await takeBeginning(text)
    const format = options.format ?? formatOf(path, beginning)
    yield* READERS[format](path, putBack(beginning, text))
  } finally {
    await text.return()
  }
}

/**
 * Compresses (or stretches) offsets in milliseconds, in their order: the earliest becomes 0, and the whole span lasts
 * `inMs` milliseconds or passes `speed` times as fast. Both are above 0.
 */
export function scaleArrivals(
  offsets: readonly number[],
  scale: { readonly inMs: number } | { readonly speed: number },
): number[] {
  const asked = 'inMs' in scale ? scale.inMs : scale.speed
  if (!(asked > 0 && Number.isFinite(asked))) {
    throw new RangeError(`Expected \`${'inMs' in scale ? 'inMs' : 'speed'}\` to be a number above 0, got ${asked}`)
  }
  const first = offsets.reduce((least, offset) => Math.min(least, offset), Number.POSITIVE_INFINITY)
  const last = offsets.reduce((most, offset) => Math.max(most, offset), Number.NEGATIVE_INFINITY)
  const span = last - first
  if ('speed' in scale) return offsets.map((offset) => (offset - first) / asked)
  return offsets.map((offset) => (span === 0 ? 0 : ((offset - first) / span) * asked))
}

// --- internal ---

const READERS = { swf: readSwf, ndjson: readNdjson, csv: readCsv } as const

function formatOf(path: string, beginning: string): ArrivalsFormat {
  const name = path.toLowerCase().replace(/\.gz$/, '')
  if (name.endsWith('.swf')) return 'swf'
  if (/\.(ndjson|jsonl)$/.test(name)) return 'ndjson'
  if (name.endsWith('.csv')) return 'csv'
  const text = beginning.trimStart()
  if (text.startsWith('{')) return 'ndjson'
  return /^(;|-?\d+\s+-?\d+\s)/.test(text) ? 'swf' : 'csv'
}

async function* readText(path: string): AsyncGenerator<string, void, undefined> {
  const decoder = new TextDecoder('utf-8', { fatal: true })
  try {
    for await (const bytes of readBytes(path)) yield decoder.decode(bytes, { stream: true })
    yield decoder.decode()
  } catch (cause) {
    const code = cause instanceof Error && 'code' in cause ? String(cause.code) : ''
    if (code.startsWith('Z_')) throw new ArrivalsError(path, null, 'a whole and sound gzip file', { cause })
    if (code === 'ERR_ENCODING_INVALID_ENCODED_DATA') throw new ArrivalsError(path, null, 'UTF-8 text', { cause })
    throw cause
  }
}

async function* readBytes(path: string): AsyncGenerator<Uint8Array, void, undefined> {
  const chunks: AsyncIterator<Buffer> = createReadStream(path)[Symbol.asyncIterator]()
  try {
    let head: Buffer = Buffer.alloc(0)
    // A pipe may deliver its first two bytes one by one.
    while (head.length < 2) {
      const next = await chunks.next()
      if (next.done === true) break
      head = Buffer.concat([head, next.value])
    }
    const all = putBack(head, { [Symbol.asyncIterator]: () => chunks })
    if (head[0] === 0x1f && head[1] === 0x8b) yield* gunzip(all)
    else yield* all
  } finally {
    await chunks.return?.()
  }
}

async function* gunzip(bytes: AsyncIterable<Uint8Array>): AsyncGenerator<Uint8Array, void, undefined> {
  const source = Readable.from(bytes)
  const text = createGunzip()
  // Not `pipeline`: it would report the reader's own early end, after the first bad line, as an error of the file.
  source.on('error', (error) => text.destroy(error))
  try {
    yield* source.pipe(text)
  } finally {
    source.destroy()
    text.destroy()
  }
}

/** Takes the first text that is more than blanks: what a format is recognised by. */
async function takeBeginning(text: AsyncIterator<string, void>): Promise<string> {
  let beginning = ''
  while (beginning.trim() === '') {
    const next = await text.next()
    if (next.done === true) break
    beginning += next.value
  }
  return beginning
}

async function* putBack<T>(taken: T, rest: AsyncIterable<T>): AsyncGenerator<T, void, undefined> {
  yield taken
  yield* rest
}
