// Enqueues a file of messages, NDJSON, one a line: { "payload": …, "delay": "10m", … }. A chunk of lines is one
// transaction, so what is committed is always the beginning of the file.
//
// A slow pipe is sent as it comes: a chunk goes when it is full, or when no line has come for a while.
//
// Invariant: whatever ends the work early says how many lines are committed and from which line to go on; where the
// answer to the last chunk is lost it says that too, because then nobody knows.
import { createReadStream } from 'node:fs'
import { stat } from 'node:fs/promises'
import { addAbortSignal, type Readable } from 'node:stream'
import { DueqError, isDueqError } from '../errors.js'
import type { Duration } from '../options.js'
import type { EnqueueItem } from '../produce.js'
import type { Producer } from '../queue.js'
import { splitLines } from './lines.js'
import { createProgress } from './progress.js'

export type EnqueueFileOptions = {
  /** A path, or `-` for stdin. */
  readonly file: string
  /** Lines before this one are skipped; from 1. */
  readonly fromLine: number
  /** Stops the work; a chunk that is on its way is waited for. */
  readonly signal: AbortSignal
  /** How long a chunk waits for room in a queue that is full. */
  readonly wait?: Duration
}

export type EnqueueFileReport = {
  /** Lines of the file, skipped and empty ones included. */
  readonly lines: number
  readonly enqueued: number
  /** Messages that had a live one with their dedup key already. */
  readonly duplicates: number
}

type NumberedItem = { readonly line: number; readonly item: EnqueueItem<unknown> }

const chunkSize = 1000

/** Enqueues the lines of a file. Errors: `line.invalid`, `file.unreadable`, `aborted`, `enqueue.incomplete` with its cause. */
export async function enqueueFile(
  producer: Producer<unknown>,
  { file, fromLine, signal, wait }: EnqueueFileOptions,
): Promise<EnqueueFileReport> {
  const { chunks, bytes } = await open(file, signal)
  const progress = createProgress(bytes)
  const report = { lines: 0, enqueued: 0, duplicates: 0 }
  let committedLines = fromLine - 1
  let readBytes = 0
  let chunk: NumberedItem[] = []

  const flush = async (): Promise<void> => {
    if (chunk.length > 0) {
      const results = await producer.enqueueMany(
        chunk.map(({ item }) => item),
        wait === undefined ? {} : { wait, signal },
      )
      const created = results.filter((result) => result.created).length
      report.enqueued += created
      report.duplicates += results.length - created
      chunk = []
    }
    committedLines = Math.max(committedLines, report.lines)
    progress.update(readBytes, report.lines)
  }

  let isSending = false
  try {
    for await (const next of orIdle(splitLines(chunks), () => chunk.length > 0)) {
      if (next !== idle) {
        const { line, text: bytes } = next
        report.lines = line
        readBytes += bytes.length + 1
        if (line < fromLine) continue
        const text = decodeLine(line, bytes)
        if (text.trim() === '') continue
        chunk.push({ line, item: parseLine(line, text) })
        if (chunk.length < chunkSize) continue
      }
      isSending = true
      await flush()
      isSending = false
    }
    isSending = true
    await flush()
    return report
  } catch (error) {
    const cause = signal.aborted && !isDueqError(error) ? new DueqError('aborted', 'Stopped by a signal.') : error
    throw stopped(cause, committedLines, isSending ? chunk : [])
  } finally {
    progress.clear()
  }
}

// --- internal ---

const idle = Symbol('idle')
const idleMs = 200

/** Passes items on, and says `idle` where something waits and no further item has come for a while, as on a slow pipe. */
async function* orIdle<T>(items: AsyncIterable<T>, isWaiting: () => boolean): AsyncGenerator<T | typeof idle> {
  const iterator = items[Symbol.asyncIterator]()
  try {
    for (;;) {
      const next = iterator.next()
      while (isWaiting()) {
        let timer: NodeJS.Timeout | undefined
        const timeout = new Promise<typeof idle>((resolve) => {
          timer = setTimeout(resolve, idleMs, idle)
        })
        const first = await Promise.race([next, timeout]).finally(() => clearTimeout(timer))
        if (first !== idle) break
        yield idle
      }
      const { done, value } = await next
      if (done) return
      yield value
    }
  } finally {
    await iterator.return?.()
  }
}

/** Opens the file for its bytes, each as one character. */
async function open(
  file: string,
  signal: AbortSignal,
): Promise<{ readonly chunks: AsyncIterable<string>; readonly bytes?: number }> {
  const read = (stream: Readable): AsyncIterable<string> => readable(file, addAbortSignal(signal, stream), signal)
  if (file === '-') return { chunks: read(process.stdin.setEncoding('latin1')) }
  try {
    const { size } = await stat(file)
    return { chunks: read(createReadStream(file, 'latin1')), bytes: size }
  } catch (error) {
    throw unreadable(file, error)
  }
}

async function* readable(file: string, stream: Readable, signal: AbortSignal): AsyncGenerator<string> {
  try {
    yield* stream
  } catch (error) {
    throw signal.aborted ? error : unreadable(file, error)
  }
}

function unreadable(file: string, error: unknown): DueqError {
  return new DueqError('file.unreadable', `Cannot read ${file}: ${(error as Error).message}.`, { cause: error })
}

const utf8 = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true })

/** Decodes one line: bytes that are no UTF-8 would else be enqueued as replacement characters. */
function decodeLine(line: number, bytes: string): string {
  try {
    return utf8.decode(Buffer.from(bytes, 'latin1'))
  } catch (error) {
    throw new DueqError('line.invalid', `Line ${line} is not UTF-8 text.`, { cause: error })
  }
}

function parseLine(line: number, text: string): EnqueueItem<unknown> {
  let value: unknown
  try {
    value = JSON.parse(line === 1 ? text.replace(/^\uFEFF/, '') : text)
  } catch (error) {
    throw new DueqError('line.invalid', `Line ${line} is not JSON: ${(error as Error).message}.`, { cause: error })
  }
  if (typeof value !== 'object' || value === null || Array.isArray(value) || !('payload' in value))
    throw new DueqError('line.invalid', `Line ${line} is not an object with a payload: { "payload": … }.`)
  return value as EnqueueItem<unknown>
}

/** The error to show: what happened, on which line, and how to go on. */
function stopped(error: unknown, committedLines: number, sent: readonly NumberedItem[]): DueqError {
  if (!isDueqError(error)) throw error
  const fromLine = committedLines + 1
  const details = { committedLines, fromLine }
  const { index } = error.details
  const line = typeof index === 'number' ? sent[index]?.line : undefined
  const advice =
    committedLines === 0
      ? 'No line is committed.'
      : `Lines 1 to ${committedLines} are committed; go on with --from-line ${fromLine}.`
  if (line !== undefined) {
    const reason = isDueqError(error.cause) ? error.cause.message : error.message
    return new DueqError('line.invalid', `Line ${line}: ${reason} ${advice}`, { cause: error, details })
  }
  const { isOutcomeUnknown } = error
  if (isOutcomeUnknown && sent.length > 0)
    return new DueqError(
      'enqueue.incomplete',
      `${error.message} ${advice} Whether lines ${sent[0]!.line} to ${sent.at(-1)!.line} are committed is unknown: the answer was lost.`,
      { cause: error, details, isOutcomeUnknown },
    )
  if (['line.invalid', 'file.unreadable', 'aborted'].includes(error.code) || committedLines === 0)
    return new DueqError(error.code, `${error.message} ${advice}`, { cause: error, details })
  return new DueqError('enqueue.incomplete', `${error.message} ${advice}`, { cause: error, details })
}
