// The benchmark: `npm run bench -- --help`. Builds nothing: `dist/` must be there. README.md says how to read a result.
import { mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { svgOf } from './harness/chart.mjs'
import { runAll } from './harness/interleave.mjs'
import { machine } from './harness/machine.mjs'
import { markdownOf } from './harness/markdown.mjs'
import { loadScenarios, parse, usage } from './harness/options.mjs'
import { installPeers, loadChosen } from './harness/peers.mjs'

const options = parse(process.argv.slice(2))
if (options.isHelp) {
  console.log(usage)
  process.exit()
}
const out = options.out ?? fileURLToPath(new URL('./results', import.meta.url))
const startedAt = new Date()
const scenarios = await loadScenarios(options.scenarios, options.overrides)
await installPeers(options.systems)
const { systems, leftOut } = await loadChosen(options.systems)

const stopping = new AbortController()
const { signal } = stopping
process.once('SIGINT', () => stopping.abort(new Error('interrupted')))
process.once('SIGTERM', () => stopping.abort(new Error('terminated')))

mkdirSync(out, { recursive: true })
const result = written(
  await runAll({ ...options, systems, scenarios, signal, print: console.log, onScenario: written }),
)
console.log(`\n${markdownOf(result)}\nWritten to ${out}.`)
if (signal.aborted || result.failures.length > 0) process.exitCode = 1

/**
 * A long run that is ended leaves what it has.
 * @param {Awaited<ReturnType<typeof runAll>>} measured
 */
function written(measured) {
  const result = {
    startedAt: startedAt.toISOString(),
    minutes: Math.round((Date.now() - startedAt.getTime()) / 6000) / 10,
    isQuick: options.isQuick,
    rounds: options.rounds,
    machine: machine(),
    leftOut,
    ...measured,
  }
  writeFileSync(join(out, 'results.json'), `${JSON.stringify(result, rounded, 1)}\n`)
  writeFileSync(join(out, 'results.md'), markdownOf(result))
  for (const scenario of result.scenarios) writeFileSync(join(out, `${scenario.name}.svg`), svgOf(scenario))
  return result
}

/** @param {string} _ @param {unknown} value */
function rounded(_, value) {
  return typeof value === 'number' && !Number.isInteger(value) ? Number(value.toPrecision(6)) : value
}
