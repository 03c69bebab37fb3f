/**
 * Splits CSV into records, character by character and across chunks, as RFC 4180 has it: fields between commas; a
 * quoted field may hold commas, line breaks and quotes written twice. What the RFC leaves open is refused, not
 * guessed: a quote inside an unquoted field, text after a closing quote, a quote that is never closed.
 *
 *   start ──"──▶ quoted ──"──▶ closed ──"──▶ quoted (one quote is text)
 *     └──other──▶ plain          └── , or line break ends the field, from every state but quoted
 */
import { ArrivalsError, got } from './arrival.js'

export interface CsvRecord {
  /** Where the record begins, from 1. */
  readonly line: number
  readonly fields: readonly string[]
}

export async function* splitCsv(
  path: string,
  chunks: AsyncIterable<string>,
): AsyncGenerator<CsvRecord, void, undefined> {
  let state: 'start' | 'plain' | 'quoted' | 'closed' = 'start'
  let line = 1
  let recordLine = 1
  let quoteLine = 1
  let fields: string[] = []
  let field = ''
  let isAfterReturn = false

  const endField = (): void => {
    fields.push(field)
    field = ''
    state = 'start'
  }
  /** Answers null for an empty line. */
  const endRecord = (): CsvRecord | null => {
    const isEmpty = fields.length === 0 && state === 'start'
    endField()
    const record = { line: recordLine, fields }
    fields = []
    return isEmpty ? null : record
  }

  for await (const chunk of chunks) {
    for (const character of chunk) {
      if (state === 'quoted') {
        if (character === '"') state = 'closed'
        else field += character
        if (character === '\n') line += 1
        continue
      }
      // CRLF is one line break; the carriage return has already ended the record.
      const isSecondHalf = isAfterReturn && character === '\n'
      isAfterReturn = character === '\r'
      if (isSecondHalf) {
        continue
      }
      if (character === '\n' || character === '\r') {
        const record = endRecord()
        line += 1
        recordLine = line
        if (record !== null) yield record
      } else if (character === ',') endField()
      else if (character === '"' && state === 'closed') {
        field += character
        state = 'quoted'
      } else if (character === '"' && state === 'start') {
        state = 'quoted'
        quoteLine = line
      } else if (character === '"') {
        throw new ArrivalsError(
          path,
          line,
          `quotes around a whole field, with quotes inside doubled, ${got(`${field}"`)}`,
        )
      } else if (state === 'closed') {
        throw new ArrivalsError(path, line, `a comma or the end of the line after a closing quote, ${got(character)}`)
      } else {
        field += character
        state = 'plain'
      }
    }
  }
  if (state === 'quoted') throw new ArrivalsError(path, quoteLine, 'the quote that opens here to be closed')
  const last = endRecord()
  if (last !== null) yield last
}
