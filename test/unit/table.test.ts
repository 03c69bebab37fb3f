import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { formatDuration, formatMs, safeText, table } from '../../src/cli/table.js'

describe('table', () => {
  it('aligns texts left and numbers right, without trailing blanks', () => {
    expect(
      table(
        ['queue', 'ready', 'note'],
        [
          ['reminders', 7, null],
          ['mail', 1200, 'paused'],
        ],
      ),
    ).toBe(
      ['queue      ready  note', '─────────  ─────  ──────', 'reminders      7', 'mail        1200  paused'].join('\n'),
    )
  })
  it('aligns as told', () => {
    expect(table(['id', 'n'], [['1', 2]], { align: ['right', 'left'] })).toBe('id  n\n──  ─\n 1  2')
  })
  it('counts columns as the terminal does', () => {
    const lines = table(
      ['text', '|'],
      [
        ['日本', '|'],
        ['e\u0301e\u0301', '|'],
        ['👩‍👩‍👧', '|'],
        ['한', '|'],
        ['é', '|'],
      ],
    ).split('\n')
    expect(lines.slice(2)).toEqual(['日本  |', 'e\u0301e\u0301    |', '👩‍👩‍👧    |', '한    |', 'é     |'])
  })
  it('lets no control character through, in headers or cells', () => {
    const text = table(['a\u001b[31m'], [['\u001b]0;owned\u0007'], ['b\r\nc']])
    expect(text.split('\n')).toEqual(['a␛[31m', '──────────', '␛]0;owned␇', 'b␍␊c'])
  })
})

describe('safeText', () => {
  it('shows what a terminal would obey', () => {
    expect(safeText('\u0000\t\u001b\u007f\u009b31m\u0085')).toBe('␀␉␛␡\\x9b31m\\x85')
    expect(safeText('a\u202eb\u2066c\u2028d')).toBe('a\\u202eb\\u2066c\\u2028d')
    expect(safeText('\ud83d half')).toBe('\ufffd half')
  })
  it('leaves the rest alone', () => {
    const text = 'plain, ümlaut, 日本語, e\u0301, 👩‍👩‍👧 \\x1b'
    expect(safeText(text)).toBe(text)
  })
  it('holds for every text', () => {
    fc.assert(
      fc.property(fc.string({ unit: 'binary' }), (text) => {
        expect(safeText(text)).not.toMatch(/\p{Cc}|\p{Cs}/u)
      }),
    )
  })
})

describe('durations for people', () => {
  it.each([
    [0, '0 ms'],
    [-0.001, '0 ms'],
    [0.351, '0.35 ms'],
    [0.996, '1 ms'],
    [1.234, '1.2 ms'],
    [9.96, '10 ms'],
    [250.4, '250 ms'],
    [999.6, '1 s'],
    [3400, '3.4 s'],
    [59_960, '1 min'],
    [120_000, '2 min'],
    [5_400_000, '1.5 h'],
    [7_949_022_000, '92 d'],
    [-3400, '-3.4 s'],
    [Number.NaN, '-'],
  ])('says %d ms as %s', (ms, text) => {
    expect(formatDuration(ms)).toBe(text)
  })
  it('keeps to milliseconds where values are compared', () => {
    expect([0.351, 1.234, 3400, Number.NaN].map(formatMs)).toEqual(['0.35 ms', '1.2 ms', '3400 ms', '-'])
  })
})
