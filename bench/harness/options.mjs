// What `npm run bench -- …` understands.
import { readdirSync } from 'node:fs'
import { parseArgs } from 'node:util'
import { systemNames } from './systems.mjs'

const folder = new URL('../scenarios/', import.meta.url)

/** The order of the report. */
const scenarioOrder = [
  'single',
  'bulk',
  'drain',
  'latency',
  'lateness',
  'future',
  'held',
  'idle',
  'connections',
  'mixed',
  'memory',
  'payloads',
]

export const usage = `npm run bench -- [--systems a,b] [--scenarios a,b] [--rounds n] [--quick] [--set scenario.param=value] [--out folder]
  --systems    of: ${systemNames().join(', ')}; \`floor\` brings along the floors of each scenario (default: all)
  --scenarios  of: ${scenarioOrder.join(', ')} (default: all)
  --rounds     interleaved rounds, of which the report gives the median (default 3; quick 1)
  --quick      everything short: shows that it works, and no more
  --set        a parameter of a scenario, as JSON: --set single.seconds=10 --set 'single.callers=[1,32]'
  --variants   only the variants with this text in their name
  --out        where the results go (default bench/results)`

/** @param {readonly string[]} args */
export function parse(args) {
  const { values } = parseArgs({
    args: [...args],
    options: {
      systems: { type: 'string' },
      scenarios: { type: 'string' },
      rounds: { type: 'string' },
      quick: { type: 'boolean', default: false },
      set: { type: 'string', multiple: true, default: [] },
      variants: { type: 'string' },
      out: { type: 'string' },
      help: { type: 'boolean', default: false },
    },
  })
  const quick = values.quick ?? false
  return {
    isHelp: values.help ?? false,
    isQuick: quick,
    systems: chosen('system', values.systems, systemNames()),
    isEverySystem: values.systems === undefined,
    scenarios: chosen('scenario', values.scenarios, scenarioOrder),
    rounds: Number(values.rounds ?? (quick ? 1 : 3)),
    variants: values.variants,
    out: values.out,
    overrides: (values.set ?? []).map(override),
  }
}

/**
 * @param {readonly string[]} names
 * @param {readonly { scenario: string, param: string }[]} overrides
 */
export async function loadScenarios(names, overrides) {
  const missing = readdirSync(folder).filter((file) => !scenarioOrder.includes(file.replace('.mjs', '')))
  if (missing.length > 0) throw new Error(`Without a place in the order of the report: ${missing.join(', ')}`)
  /** @type {import('./scenario.js').Scenario[]} */
  const scenarios = []
  for (const name of names) scenarios.push((await import(new URL(`${name}.mjs`, folder).href)).default)
  for (const { scenario: name, param } of overrides) {
    const known = scenarios.find((one) => one.name === name)?.params
    if (!known) throw new Error(`--set names ${name}, which is not among the chosen scenarios.`)
    if (!(param in known)) throw new Error(`${name} has no ${param}: ${Object.keys(known).join(', ')}.`)
  }
  return scenarios
}

// --- internal ---

/** @param {string} what @param {string | undefined} given @param {readonly string[]} known */
function chosen(what, given, known) {
  const names = given === undefined ? [...known] : given.split(',').map((name) => name.trim())
  const unknown = names.filter((name) => !known.includes(name))
  if (unknown.length > 0) throw new Error(`No ${what} ${unknown.join(', ')}. There are: ${known.join(', ')}.`)
  return names
}

/** @param {string} text */
function override(text) {
  const found = /^(\w+)\.(\w+)=(.*)$/.exec(text)
  if (!found) throw new Error(`Expected scenario.param=value, got ${text}.`)
  const [, scenario = '', param = '', value = ''] = found
  return { scenario, param, value: JSON.parse(value) }
}
