// The benchmark of bench/, without the peers: that it runs from a fresh checkout, compares with the floor, and writes what it
// says it writes. Its figures are nobody's concern here.
import { execFile } from 'node:child_process'
import { existsSync, mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { afterAll, expect, it } from 'vitest'

const run = promisify(execFile)
const program = join(import.meta.dirname, '../bench/run.mjs')
const peers = join(import.meta.dirname, '../bench/node_modules')
const out = mkdtempSync(join(tmpdir(), 'dueq-bench-'))
afterAll(() => rmSync(out, { recursive: true, force: true }))

type Figure = {
  readonly median: number
  readonly min: number
  readonly max: number
  readonly rounds: readonly number[]
}
type Result = {
  readonly failures: readonly unknown[]
  readonly systems: Readonly<Record<string, { readonly version: string; readonly settings: string }>>
  readonly scenarios: readonly {
    readonly name: string
    readonly rows: readonly { readonly system: string; readonly figures: Readonly<Record<string, Figure>> }[]
  }[]
}

it('a quick run of dueq and the floor gives figures as JSON, Markdown and SVG, and installs no peers', async () => {
  const hadPeers = existsSync(peers)
  const chosen = ['--systems', 'dueq,floor', '--scenarios', 'drain', '--set', 'drain.count=1000', '--rounds', '2']
  await run(process.execPath, [program, '--quick', ...chosen, '--out', out])

  const result: Result = JSON.parse(readFileSync(join(out, 'results.json'), 'utf8'))
  expect(result.failures).toEqual([])
  expect(Object.keys(result.systems).sort()).toEqual(['dueq', 'floor'])
  const [drain] = result.scenarios
  expect(drain!.rows.map((row) => row.system)).toEqual(['dueq', 'floor'])
  for (const { figures } of drain!.rows) {
    expect(figures['handled']).toEqual({ median: 1000, min: 1000, max: 1000, rounds: [1000, 1000] })
    expect(figures['rate']!.min).toBeGreaterThan(0)
    expect(figures['rate']!.min).toBeLessThanOrEqual(figures['rate']!.median)
  }

  const report = readFileSync(join(out, 'results.md'), 'utf8')
  expect(report).toContain('A quick run')
  expect(report).toMatch(/^\| dueq \| [\d,]+ \([\d,]+–[\d,]+\) \|/m)
  expect(report).toContain('messages/s to floor')

  const svg = readFileSync(join(out, 'drain.svg'), 'utf8')
  expect(unclosed(svg)).toEqual([])
  expect(svg).toContain('>dueq</text>')
  expect(svg).not.toMatch(/NaN|undefined|Infinity/)
  expect(existsSync(peers)).toBe(hadPeers)
}, 120_000)

it('an unknown system, scenario or parameter is refused with the names there are', async () => {
  const refusal = (...args: string[]) =>
    run(process.execPath, [program, ...args]).catch((error) => String(error.stderr))
  expect(await refusal('--systems', 'duck')).toMatch(/No system duck\. There are: .*dueq, .*floor/)
  expect(await refusal('--scenarios', 'drian')).toMatch(/No scenario drian\. There are: single, /)
  expect(await refusal('--set', 'drain.cuont=1')).toMatch(/drain has no cuont: .*count/)
})

/** The elements that are opened and not closed, or closed and not opened. */
function unclosed(svg: string): readonly string[] {
  const open: string[] = []
  for (const [, slash, name, end] of svg.matchAll(/<(\/?)([a-z]+)[^<>]*?(\/?)>/g)) {
    if (slash && open.at(-1) === name) open.pop()
    else if (!end) open.push(`${slash}${name}`)
  }
  return open
}
