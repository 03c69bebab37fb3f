// What the commands print. Results go to stdout: a table for people, or one line of JSON for programs. Whatever is only
// for people to know (progress, warnings, questions) goes to stderr, so that stdout can be piped.
//
// Invariant: no text that somebody else has enqueued reaches the terminal as a command, in JSON neither.
import { type Cell, safeText, table } from './table.js'

/** Prints a value as one line of JSON. C1 controls and the like, which JSON leaves as they are, are escaped. */
export function printJson(value: unknown): void {
  const text = JSON.stringify(value).replace(
    /[\u007f-\u009f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069]/g,
    (character) => `\\u${character.charCodeAt(0).toString(16).padStart(4, '0')}`,
  )
  process.stdout.write(`${text}\n`)
}

/** Prints a line of a result. */
export function print(line: string): void {
  process.stdout.write(`${line}\n`)
}

/** Tells people something beside the result. */
export function say(line: string): void {
  process.stderr.write(`dueq: ${safeText(line)}\n`)
}

/** One thing with all its properties, a line each. */
export function card(properties: Readonly<Record<string, Cell>>): string {
  const width = Math.max(...Object.keys(properties).map((name) => name.length))
  return Object.entries(properties)
    .map(([name, value]) => `${name.padEnd(width)}  ${safeText(String(value ?? '-'))}`)
    .join('\n')
}

/** A table, or a sentence where there is nothing to show. */
export function tableOr(nothing: string, headers: readonly string[], rows: readonly (readonly Cell[])[]): string {
  return rows.length === 0 ? nothing : table(headers, rows)
}

/** An instant to the second, in UTC: `2026-01-31 09:00:00Z`. */
export function shortInstant(iso: string | null): string {
  return iso === null ? '-' : `${new Date(iso).toISOString().slice(0, 19).replace('T', ' ')}Z`
}

/** The beginning of a value, for a cell. */
export function preview(value: unknown, length = 60): string {
  const text = typeof value === 'string' ? value : JSON.stringify(value)
  return text.length <= length ? text : `${text.slice(0, length - 1).toWellFormed()}…`
}

/** "1 message", "2 messages". */
export function count(number: number, noun: string): string {
  return `${number} ${noun}${number === 1 ? '' : 's'}`
}
