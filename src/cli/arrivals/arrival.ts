/**
 * One arrival, and how its time is read: the same in every format.
 */
import { instantOrNull } from '../instant.js'

export interface Arrival {
  /** Where the record begins in the (decompressed) file, from 1. */
  readonly line: number
  /**
   * Milliseconds. As written where the file gives offsets; counted from the first record where it gives instants, and
   * then negative for a record that is out of order.
   */
  readonly offsetMs: number
  readonly payload: unknown
}

/** An arrivals file that cannot be read; its message names the file, the line, what was expected and what was there. */
export class ArrivalsError extends Error {
  override readonly name = 'ArrivalsError'
  readonly code = 'arrivals.invalid'
  readonly path: string
  /** Null where the whole file is meant. */
  readonly line: number | null

  constructor(path: string, line: number | null, expected: string, options?: ErrorOptions) {
    super(`${path}${line === null ? '' : `:${line}`}: expected ${expected}`, options)
    this.path = path
    this.line = line
  }
}

/** Ends an error message with what was there, cut short: a line may be a megabyte. */
export function got(value: unknown): string {
  const text = JSON.stringify(value) ?? String(value)
  return `got ${text.length > 60 ? `${text.slice(0, 60)}…` : text}`
}

/** Reads instants as milliseconds from the first one it was given; null for what is no instant. */
export function createInstantReader(): (value: unknown) => number | null {
  let firstMicros: number | undefined
  return (value) => {
    const micros = typeof value === 'string' ? instantOrNull(value) : null
    if (micros === null) return null
    firstMicros ??= micros
    return (micros - firstMicros) / 1000
  }
}

/** Reads an offset: milliseconds as a number, or a text such as `250`, `250ms`, `1.5s`, `10m`, `2h`, `7d`; else null. */
export function offsetOrNull(value: unknown): number | null {
  if (typeof value === 'number') return Number.isFinite(value) && value >= 0 ? value : null
  const match = typeof value === 'string' ? /^(\d+(?:\.\d+)?)(ms|s|m|h|d)?$/.exec(value.trim()) : null
  return match === null ? null : finiteOrNull(Number(match[1]) * (UNIT_MS[match[2] ?? 'ms'] ?? Number.NaN))
}

/** A number of so many digits that it is Infinity is none. */
export function finiteOrNull(value: number): number | null {
  return Number.isFinite(value) ? value : null
}

const UNIT_MS: Readonly<Record<string, number>> = { ms: 1, s: 1000, m: 60_000, h: 3_600_000, d: 86_400_000 }

export const AN_INSTANT = 'an instant such as 2026-01-02T03:04:05Z'
export const AN_OFFSET = "an offset in milliseconds or such as '250ms', '30s', '10m'"
