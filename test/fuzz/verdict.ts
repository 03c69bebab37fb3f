/** What every call must come to: a result, or an error that a user can do something with. */
import { readFileSync } from 'node:fs'
import { expect } from 'vitest'
import { DueqError, LeaseLostError } from '../../src/index.js'

const page = readFileSync(new URL('../../docs/errors.md', import.meta.url), 'utf8')

/** The codes of docs/errors.md. */
export const codes: ReadonlySet<string> = new Set([...page.matchAll(/^\| `([a-z._]+)` \|/gm)].map((match) => match[1]!))

export type Verdict<T> =
  | { readonly result: T; readonly error?: undefined }
  | { readonly result?: undefined; readonly error: DueqError }

/** Runs it to its end. Fails where it throws what is not documented. */
export async function verdictOf<T>(run: () => T): Promise<Verdict<Awaited<T>>> {
  try {
    return { result: await run() }
  } catch (error) {
    return { error: expectDueqError(error) }
  }
}

/** Fails unless this is an error of dueq: of a documented code, in words for people, with nothing raw in it. */
export function expectDueqError(error: unknown): DueqError {
  if (!(error instanceof DueqError)) throw new Error('Something else than a DueqError was thrown', { cause: error })
  expect([DueqError, LeaseLostError]).toContain(error.constructor)
  expect(['DueqError', 'LeaseLostError']).toContain(error.name)
  expect(codes).toContain(error.code)
  expect(typeof error.message).toBe('string')
  expect(error.message.trim().split(/\s+/).length, error.message).toBeGreaterThanOrEqual(4)
  expect(error.message.length).toBeLessThan(3_000)
  // What was given stands in quotes; around it there must be no word of a program that has lost its way.
  const own = error.message.replace(/`[^`]*`|"[^"]*"/g, '')
  expect(own).not.toMatch(/\[object |\bundefined\b|Cannot read|is not a function|is not iterable|PostgresError/)
  return error
}

/** JSON whose keys are sorted, to compare what `jsonb` has put in an order of its own. */
export function canonical(value: unknown): string {
  return JSON.stringify(value, (_, inner: unknown) =>
    typeof inner === 'object' && inner !== null && !Array.isArray(inner)
      ? Object.entries(inner).sort(([a], [b]) => (a < b ? -1 : 1))
      : inner,
  )
}
