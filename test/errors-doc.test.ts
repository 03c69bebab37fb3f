/** docs/errors.md and the sources name the same codes, and no code is only a word. */
import { readdirSync, readFileSync } from 'node:fs'
import { describe, expect, it } from 'vitest'
import { fromDatabase } from '../src/database-errors.js'

const read = (path: string): string => readFileSync(new URL(`../${path}`, import.meta.url), 'utf8')
const matches = (text: string, pattern: RegExp): readonly string[] =>
  [...text.matchAll(pattern)].map((match) => match[1]!)

const errors = read('src/errors.ts')
const union = matches(errors.slice(0, errors.indexOf('export class')), /^ {2}\| '([a-z._]+)'$/gm)
const page = read('docs/errors.md')
const [codesPart = '', sqlStatesPart = ''] = page.split('## SQLSTATEs')

const sources = readdirSync(new URL('../src', import.meta.url), { recursive: true, encoding: 'utf8' })
  .filter((file) => file.endsWith('.ts'))
  .map((file) => (file === 'errors.ts' ? errors.slice(errors.indexOf('export class')) : read(`src/${file}`)))
  .join('\n')
const migrations = readdirSync(new URL('../migrations', import.meta.url), { recursive: true, encoding: 'utf8' })
  .filter((file) => file.endsWith('.sql'))
  .map((file) => read(`migrations/${file}`))
  .join('\n')

it('the page lists each code of the union once, and no other, with cause and remedy', () => {
  const rows = codesPart.split('\n').filter((line) => line.startsWith('| `'))
  expect(rows.map((row) => row.split('`')[1]).toSorted()).toEqual(union.toSorted())
  for (const row of rows) expect(row.split(' | ').every((cell) => cell.trim().length > 3)).toBe(true)
})

describe('something throws each code', () => {
  it.each(union)('%s', (code) => {
    expect(sources.includes(`'${code}'`), `nothing in src names '${code}'`).toBe(true)
  })
})

it('the page lists each SQLSTATE that the engine raises, with the code that the client makes of it', () => {
  const raised = [...new Set(matches(migrations, /errcode = '(DQ\d{3})'/g))].toSorted()
  const rows = sqlStatesPart.split('\n').filter((line) => line.startsWith('| `'))
  expect(rows.map((row) => row.split('`')[1])).toEqual(raised)
  for (const row of rows) {
    const [sqlState, code] = [row.split('`')[1]!, row.split('`').at(-2)!]
    expect(fromDatabase({ code: sqlState, message: 'x' }).code, sqlState).toBe(code)
  }
})

it('the SQLSTATEs in the text below are mapped as it says', () => {
  const text = sqlStatesPart.split('Others come from PostgreSQL:')[1]!.replaceAll('\n', ' ')
  for (const [, states = '', code = ''] of text.matchAll(/([^()]*)\(`([a-z._]+)`\)/g))
    for (const state of matches(states, /`([0-9A-Z]{5})`/g))
      expect(fromDatabase({ code: state, message: 'x' }).code).toBe(code)
})
