/**
 * Tables and durations for people at a terminal.
 *
 * Invariant: no text of a payload, header or error reaches the terminal as a command. Whoever can enqueue could
 * otherwise recolour, overwrite or retitle the operator's terminal; so every cell goes through `safeText`, and
 * whatever else prints foreign text calls it as well.
 */

export type Cell = string | number | bigint | boolean | null | undefined
export type Align = 'left' | 'right'

/**
 * Lays rows out under their headers, in columns as wide as their widest cell as shown (East Asian characters take
 * two columns, combining marks none). Columns of numbers align right unless `align` says otherwise, column by column.
 */
export function table(
  headers: readonly string[],
  rows: readonly (readonly Cell[])[],
  { align = [] }: { readonly align?: readonly (Align | undefined)[] } = {},
): string {
  const lines = [headers, ...rows].map((cells) => headers.map((_, column) => safeText(String(cells[column] ?? ''))))
  const widths = headers.map((_, column) =>
    lines.reduce((widest, line) => Math.max(widest, columnsOf(line[column] ?? '')), 0),
  )
  const sides = headers.map((_, column) => align[column] ?? (isNumeric(rows, column) ? 'right' : 'left'))
  const layOut = (cells: readonly string[]): string =>
    cells
      .map((cell, column) => {
        const padding = ' '.repeat((widths[column] ?? 0) - columnsOf(cell))
        return sides[column] === 'right' ? padding + cell : cell + padding
      })
      .join('  ')
      .trimEnd()
  const [head = [], ...body] = lines
  return [layOut(head), widths.map((width) => '─'.repeat(width)).join('  '), ...body.map(layOut)].join('\n')
}

/**
 * Replaces what a terminal could obey or be misled by with something visible: control characters (C0 by their
 * pictures, so a line feed shows as ␊; DEL as ␡; C1 as `\x9b`), line separators and direction overrides (`\u202e`),
 * and half surrogates (�).
 */
export function safeText(value: string): string {
  return value.replace(UNSAFE, (character) => {
    const code = character.charCodeAt(0)
    if (code < 0x20) return String.fromCharCode(0x2400 + code)
    if (code === 0x7f) return '␡'
    if (code < 0xa0) return `\\x${code.toString(16)}`
    if (code >= 0xd800 && code <= 0xdfff) return '\ufffd'
    return `\\u${code.toString(16).padStart(4, '0')}`
  })
}

/** Says milliseconds as milliseconds, for columns that are compared: `0.35 ms`, `1.2 ms`, `3400 ms`; NaN is `-`. */
export function formatMs(ms: number): string {
  return Number.isFinite(ms) ? `${shortNumber(ms)} ms` : '-'
}

/** Says milliseconds in the unit a person would choose: `1.2 ms`, `3.4 s`, `2 min`, `1.5 h`, `12 d`; NaN is `-`. */
export function formatDuration(ms: number): string {
  if (!Number.isFinite(ms)) return '-'
  for (const { unit, unitMs, limit } of UNITS) {
    const shown = shortNumber(ms / unitMs)
    // The number as shown decides, so that 59.96 s is 1 min and never 60 s.
    if (Math.abs(Number(shown)) < limit) return `${shown} ${unit}`
  }
  return '-'
}

/** Counts the columns a terminal gives a text: an approximation, as terminals disagree about emoji. */
function columnsOf(text: string): number {
  if (/^[\x20-\x7e]*$/.test(text)) return text.length
  let columns = 0
  for (const { segment } of GRAPHEMES.segment(text)) columns += WIDE.test(segment) ? 2 : ZERO.test(segment) ? 0 : 1
  return columns
}

function isNumeric(rows: readonly (readonly Cell[])[], column: number): boolean {
  const cells = rows.map((row) => row[column] ?? null).filter((cell) => cell !== null)
  return cells.length > 0 && cells.every((cell) => typeof cell === 'number' || typeof cell === 'bigint')
}

/** Two decimals below 1, one below 10, none above; no trailing zeros and no `-0`. */
function shortNumber(value: number): string {
  const size = Math.abs(value)
  return String(Number(value.toFixed(size < 0.995 ? 2 : size < 9.95 ? 1 : 0)) || 0)
}

const UNSAFE = /[\p{Cc}\p{Cs}\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069]/gu

const GRAPHEMES = new Intl.Segmenter('en', { granularity: 'grapheme' })

/** Blocks that Unicode's East Asian Width lists as wide, and emoji shown as pictures. */
const WIDE =
  /^[\u1100-\u115f\u2e80-\u303e\u3041-\ua4cf\ua960-\ua97f\uac00-\ud7a3\uf900-\ufaff\ufe30-\ufe6f\uff01-\uff60\uffe0-\uffe6\u{20000}-\u{3fffd}\p{Emoji_Presentation}]|^\p{Emoji}\ufe0f/u

const ZERO = /^[\p{Mn}\p{Me}\p{Cf}]+$/u

const UNITS = [
  { unit: 'ms', unitMs: 1, limit: 1000 },
  { unit: 's', unitMs: 1000, limit: 60 },
  { unit: 'min', unitMs: 60_000, limit: 60 },
  { unit: 'h', unitMs: 3_600_000, limit: 48 },
  { unit: 'd', unitMs: 86_400_000, limit: Number.POSITIVE_INFINITY },
] as const
