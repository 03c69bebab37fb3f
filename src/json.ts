// Payloads and headers as the JSON text that PostgreSQL stores as `jsonb`. What would change or fail on the way there and back
// is refused before anything is sent.
import { DueqError } from './errors.js'
import { describe, saying } from './options.js'

/** The largest payload, in bytes of JSON. */
const maxPayloadBytes = 1_048_576

/**
 * Writes a value as the JSON text that PostgreSQL stores as `jsonb`, at most 1 MB.
 *
 * Refused with `payload.not_json`, because they would change or fail on the way: undefined, functions and symbols, BigInt,
 * NaN and Infinity, integers beyond 2^53, the character U+0000, lone surrogates, cycles. (A property whose value is undefined
 * is left out, as JSON does.) `payload.too_large` above the limit.
 */
export function jsonText(name: string, value: unknown): string {
  let text: string | undefined
  try {
    text = JSON.stringify(value)
    if (text !== undefined && mayBeLossy(text)) JSON.stringify(value, refuseLossy)
  } catch (error) {
    const reason = error instanceof RangeError ? 'it is nested too deeply' : saying(error)
    throw new DueqError('payload.not_json', `Expected \`${name}\` to be JSON: ${reason}.`, { cause: error })
  }
  if (text === undefined)
    throw new DueqError('payload.not_json', `Expected \`${name}\` to be JSON, got ${describe(value)}.`)
  const bytes = text.length * 3 <= maxPayloadBytes ? text.length : Buffer.byteLength(text)
  if (bytes > maxPayloadBytes)
    throw new DueqError(
      'payload.too_large',
      `\`${name}\` has ${bytes} bytes of JSON, the limit is ${maxPayloadBytes}. Store the large part elsewhere and enqueue a reference to it.`,
      { details: { bytes } },
    )
  return text
}

// --- internal ---

/** Only these can hide something that JSON or jsonb would drop or refuse; most payloads skip the second look. */
function mayBeLossy(text: string): boolean {
  return /\\u|e\+|null/.test(text) || hasLongNumber(text)
}

/**
 * Whether there are 16 digits in a row: then one of them is at a sixteenth place, and only those are looked at. With \d{16} in
 * the expression above the two looks took 0.7 µs for 100 B, more than to write them as JSON; now they take 0.2.
 */
function hasLongNumber(text: string): boolean {
  for (let i = 15; i < text.length; i += 16) {
    if (!isDigit(text, i)) continue
    let from = i
    while (isDigit(text, from - 1)) from--
    let end = i + 1
    while (isDigit(text, end)) end++
    if (end - from >= 16) return true
  }
  return false
}

function isDigit(text: string, index: number): boolean {
  const code = text.charCodeAt(index)
  return code >= 48 && code <= 57
}

function refuseLossy(key: string, value: unknown): unknown {
  const at = key ? ` at "${key.length > 100 ? `${key.slice(0, 100)}…` : key}"` : ''
  if (typeof value === 'number') {
    if (!Number.isFinite(value)) throw new Error(`${value}${at} has no JSON form`)
    if (Number.isInteger(value) && !Number.isSafeInteger(value))
      throw new Error(`the integer ${value}${at} is beyond 2^53 and would change; pass it as a string`)
  } else if (typeof value === 'string') {
    if (value.includes('\u0000'))
      throw new Error(`the text${at} contains the character U+0000, which PostgreSQL cannot store`)
    if (/\p{Surrogate}/u.test(value))
      throw new Error(`the text${at} contains a lone surrogate, which is not valid Unicode`)
  } else if (value !== null && typeof value === 'object') {
    for (const name of Object.keys(value)) {
      if (name.includes('\u0000')) throw new Error('a property name contains the character U+0000')
      if (/\p{Surrogate}/u.test(name)) throw new Error('a property name contains a lone surrogate')
    }
    if (Array.isArray(value) && value.some((item) => ['undefined', 'function', 'symbol'].includes(typeof item)))
      throw new Error(`the array${at} contains something that JSON would turn into null`)
  }
  return value
}
