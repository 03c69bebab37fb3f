/**
 * Lines of a stream of text, numbered from 1, holding one line at a time: an arrivals file may be larger than memory.
 */

export interface Line {
  readonly line: number
  /** Without its line break (LF or CRLF). */
  readonly text: string
  /** False only for what follows the last line break. */
  readonly isTerminated: boolean
}

export async function* splitLines(chunks: AsyncIterable<string>): AsyncGenerator<Line, void, undefined> {
  let line = 0
  let rest = ''
  for await (const chunk of chunks) {
    // Only the chunk is searched: a line of many chunks would cost its length squared.
    const [first = '', ...pieces] = chunk.split('\n')
    rest += first
    for (const piece of pieces) {
      line += 1
      yield { line, text: rest.endsWith('\r') ? rest.slice(0, -1) : rest, isTerminated: true }
      rest = piece
    }
  }
  if (rest !== '') yield { line: line + 1, text: rest, isTerminated: false }
}
