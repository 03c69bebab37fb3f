/**
 * The Standard Workload Format of the Parallel Workloads Archive: one submission a line, 18 columns between blanks,
 * `;` before comments, -1 for what is not known. Column 2 is the submit time in seconds since the log began, column 4
 * the run time in seconds, column 12 the user.
 */
import { splitLines } from '../lines.js'
import { type Arrival, ArrivalsError, got } from './arrival.js'

export interface SwfPayload {
  /** The record's number in the log (column 1). */
  readonly job: number
  readonly runTimeSeconds: number | null
  readonly user: number | null
}

export async function* readSwf(
  path: string,
  chunks: AsyncIterable<string>,
): AsyncGenerator<Arrival & { readonly payload: SwfPayload }, void, undefined> {
  for await (const { line, text } of splitLines(chunks)) {
    const record = text.trim()
    if (record === '' || record.startsWith(';')) continue
    const columns = record.split(/\s+/)
    if (columns.length < 12) {
      throw new ArrivalsError(path, line, `at least 12 columns of numbers between blanks, ${got(record)}`)
    }
    const numbers = columns.map(Number)
    const wrong = numbers.findIndex((number) => !Number.isFinite(number))
    if (wrong !== -1) throw new ArrivalsError(path, line, `a number in column ${wrong + 1}, ${got(columns[wrong])}`)
    const [job = Number.NaN, submitSeconds = Number.NaN, , runTimeSeconds] = numbers
    if (submitSeconds < 0 || !Number.isFinite(submitSeconds * 1000)) {
      throw new ArrivalsError(path, line, `a submit time in seconds, 0 or more, in column 2, ${got(submitSeconds)}`)
    }
    const payload = { job, runTimeSeconds: known(runTimeSeconds), user: known(numbers[11]) }
    yield { line, offsetMs: submitSeconds * 1000, payload }
  }
}

function known(value: number | undefined): number | null {
  return value === undefined || value === -1 ? null : value
}
