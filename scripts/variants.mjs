// Runs the whole suite over variants of its surroundings, one after the other, and prints one line of numbers for each.
// A variant is a set of environment variables (docs/testing.md); a run is good when every variant passes the same tests,
// which is told by their names, not by their count.
import { spawn } from 'node:child_process'
import { closeSync, mkdirSync, openSync, readFileSync, rmSync } from 'node:fs'
import { createRequire } from 'node:module'
import { dirname, join, relative } from 'node:path'
import { fileURLToPath } from 'node:url'
import { parseArgs } from 'node:util'

const root = join(fileURLToPath(import.meta.url), '../..')
const logs = join(root, '.tools/variants')
const vitest = join(dirname(createRequire(import.meta.url).resolve('vitest/package.json')), 'vitest.mjs')
// Ten times what a run takes: it ends what hangs, not what is slow.
const deadlineMs = 30 * 60_000

/** Reads `--name a,b` options, each with the values it may have, and file filters for vitest. All values by default. */
export function readArguments(choices) {
  const options = Object.fromEntries(Object.keys(choices).map((name) => [name, { type: 'string' }]))
  const { values, positionals } = parseArgs({ options, allowPositionals: true })
  const chosen = Object.entries(choices).map(([name, { all, usual = all }]) => {
    const list = values[name]?.split(',') ?? usual
    const unknown = list.filter((value) => !all.includes(value))
    if (unknown.length > 0) throw new Error(`Expected --${name} to be some of ${all.join(',')}, got ${values[name]}`)
    return [name, list]
  })
  return { ...Object.fromEntries(chosen), files: positionals }
}

/**
 * Runs variants `{ name, env, maySkip, start }`. `start` gives `{ env, stop }` for what has to run beside it. Where tests
 * `maySkip`, those are listed, and all others must have passed.
 */
export async function runVariants(variants, files) {
  mkdirSync(logs, { recursive: true })
  const runs = []
  let isInterrupted = false
  // The terminal sends it to vitest too; what was started beside it must still be stopped.
  process.on('SIGINT', () => {
    isInterrupted = true
  })
  for (const variant of variants) {
    if (isInterrupted) break
    const run = await runVariant(variant, files)
    if (isInterrupted) break
    console.log(`${run.name}: ${run.passed.length} passed, ${run.skipped.length} skipped, ${run.failed.length} failed`)
    for (const name of run.failed) console.log(`  failed: ${name}`)
    if (run.failed.length > 0) console.log(`  log: ${relative(root, run.log)}`)
    runs.push(run)
  }
  const isGood = report(runs)
  if (isInterrupted) console.log('Interrupted.')
  process.exitCode = isInterrupted ? 130 : isGood && runs.length === variants.length ? 0 : 1
}

async function runVariant({ name, env, start, maySkip = false }, files) {
  const log = join(logs, `${name.replace(/\W+/g, '-')}.log`)
  const json = log.replace(/log$/, 'json')
  rmSync(json, { force: true })
  console.log(`${name} …`)
  const startedAt = performance.now()
  let beside
  try {
    beside = await start?.()
    await runVitest(
      { ...env, ...beside?.env },
      ['--reporter=default', '--reporter=json', `--outputFile=${json}`, ...files],
      log,
    )
  } finally {
    await beside?.stop()
  }
  const seconds = Math.round((performance.now() - startedAt) / 1000)
  return { name, log, maySkip, seconds, ...readResults(json, log) }
}

function runVitest(env, args, log) {
  // What is set outside would change what the variant is.
  const outside = Object.entries(process.env).filter(([name]) => !name.startsWith('DUEQ_'))
  const output = openSync(log, 'w')
  const child = spawn(process.execPath, [vitest, 'run', ...args], {
    cwd: root,
    env: { ...Object.fromEntries(outside), ...env, NO_COLOR: '1' },
    stdio: ['ignore', output, output],
  })
  closeSync(output)
  const timer = setTimeout(() => child.kill('SIGKILL'), deadlineMs)
  return new Promise((resolve, reject) => {
    child.once('error', reject)
    child.once('close', (code) => {
      clearTimeout(timer)
      resolve(code)
    })
  })
}

/** The names of the tests by their outcome; a file or a run that could not start counts as a failed test. */
function readResults(json, log) {
  const results = { passed: [], skipped: [], failed: [] }
  let report
  try {
    report = JSON.parse(readFileSync(json, 'utf8'))
  } catch {
    const last = readFileSync(log, 'utf8').trimEnd().split('\n').slice(-15).join('\n    ')
    return { ...results, failed: [`the run itself; its last lines:\n    ${last}`] }
  }
  for (const { name, status, assertionResults } of report.testResults) {
    const file = relative(root, name)
    if (status === 'failed' && assertionResults.every((test) => test.status !== 'failed')) results.failed.push(file)
    for (const test of assertionResults) {
      const outcome = test.status in results ? test.status : 'skipped'
      results[outcome].push(`${file}: ${test.fullName}`)
    }
  }
  return results
}

/** Prints the table and where the variants differ; true where all is well. */
function report(runs) {
  const width = Math.max(7, ...runs.map(({ name }) => name.length))
  console.log(`\n${'variant'.padEnd(width)}  passed  skipped  failed  seconds`)
  for (const { name, passed, skipped, failed, seconds } of runs) {
    const numbers = [
      [passed.length, 8],
      [skipped.length, 9],
      [failed.length, 8],
      [seconds, 9],
    ]
    console.log(name.padEnd(width) + numbers.map(([number, columns]) => String(number).padStart(columns)).join(''))
  }
  let isGood = runs.every(({ failed }) => failed.length === 0)
  const everything = new Set(runs.flatMap(({ passed }) => passed))
  for (const { name, passed, skipped, failed, maySkip } of runs) {
    if (maySkip && skipped.length > 0) console.log(`\nSkipped in ${name}:\n  ${skipped.join('\n  ')}`)
    const accounted = new Set([...passed, ...failed, ...(maySkip ? skipped : [])])
    const missing = [...everything].filter((test) => !accounted.has(test))
    if (missing.length === 0) continue
    isGood = false
    console.log(`\nPassed elsewhere, but not in ${name}:\n  ${missing.join('\n  ')}`)
  }
  console.log(isGood ? '\nEvery variant passes the same tests.' : '\nThe variants do not agree.')
  return isGood
}
