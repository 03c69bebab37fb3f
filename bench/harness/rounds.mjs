// The rounds of one scenario. For each round and each variant one system comes after the other, so that what drifts on the
// machine falls on all of them; each round begins with another system. Every run has a database of its own.
import { spread } from './figures.mjs'
import { startServer } from './server.mjs'
import { openStage } from './stage.mjs'

/**
 * @typedef {import('../contract.js').System} System
 * @typedef {import('./scenario.js').Scenario} Scenario
 * @typedef {import('./scenario.js').Finding} Finding
 * @typedef {import('./scenario.js').Params} Params
 * @typedef {import('./server.mjs').Server} Server
 * @typedef {{ system: string, kind: string, needs: string, variant: string, findings: Finding[], figures: Record<string, ReturnType<typeof spread>> }} Row
 * @typedef {Awaited<ReturnType<typeof runScenario>>} Measured
 * @typedef {import('./interleave.mjs').Options & {
 *   server: Server, redis: Awaited<ReturnType<typeof import('./redis.mjs').startRedis>> | undefined,
 *   tuned: ReadonlyMap<string, unknown>, failures: import('./interleave.mjs').Failure[],
 * }} Options
 */

/** The longest that one run may take. */
const runLimitMs = 20 * 60_000

/** @param {Scenario} scenario @param {readonly System[]} systems @param {Options} options */
export async function runScenario(scenario, systems, options) {
  const { name, title, about, metrics, floors, baseline, chart } = scenario
  const { signal, failures, print } = options
  const startedAt = performance.now()
  const params = paramsOf(scenario, options)
  const refused = systems.flatMap((system) => {
    const reason = system.skips?.[name] ?? scenario.refuses?.(system)
    return reason === undefined ? [] : [{ system: system.name, reason }]
  })
  const taking = systems.filter((system) => !refused.some((one) => one.system === system.name))
  /** @type {Row[]} */
  const rows = []
  print(`\n${title}`)
  const server = scenario.server ? await startServer(scenario.server) : options.server
  try {
    for (let round = 0; round < options.rounds; round++)
      for (const { system, group } of turns(scenario, taking, params, round, options.variants)) {
        if (signal.aborted) break
        try {
          const findings = await runOnce(scenario, system, params, group, { ...options, server })
          for (const finding of findings) {
            rowOf(rows, system, finding.variant).findings.push(finding)
            print(`  ${round + 1}  ${system.name.padEnd(18)} ${finding.variant.padEnd(40)} ${brief(metrics, finding)}`)
          }
        } catch (cause) {
          const [error = ''] = /** @type {Error} */ (cause).message.split('\n')
          failures.push({ scenario: name, system: system.name, variant: String(group['variant']), error })
          print(`  ${round + 1}  ${system.name.padEnd(18)} ${String(group['variant']).padEnd(40)} FAILED: ${error}`)
        }
      }
  } finally {
    if (server !== options.server) await server.stop()
  }
  for (const row of rows) row.figures = figuresOf(row.findings)
  const seconds = Math.round((performance.now() - startedAt) / 1000)
  return { name, title, about, metrics, floors, baseline, chart, params, seconds, refused, rows }
}

// --- internal ---

/** @param {Scenario} scenario @param {Options} options @returns {Params} */
function paramsOf(scenario, { isQuick, overrides }) {
  const own = overrides.filter((one) => one.scenario === scenario.name)
  const set = Object.fromEntries(own.map(({ param, value }) => [param, value]))
  return { ...scenario.params, ...(isQuick ? scenario.quick : {}), ...set }
}

/**
 * Variant by variant, and in each one system after the other.
 * @param {Scenario} scenario @param {readonly System[]} systems @param {Params} params @param {number} round
 * @param {string | undefined} wanted
 */
function turns(scenario, systems, params, round, wanted = '') {
  const shift = systems.length > 0 ? round % systems.length : 0
  const all = [...systems.slice(shift), ...systems.slice(0, shift)].flatMap((system) =>
    scenario.groups(params, system).map((group) => ({ system, group })),
  )
  const variants = new Set(all.map(({ group }) => String(group['variant'])))
  return [...variants]
    .filter((variant) => variant.includes(wanted))
    .flatMap((variant) => all.filter(({ group }) => group['variant'] === variant))
}

/** @param {Scenario} scenario @param {System} system @param {Params} params @param {Params} group @param {Options} options */
async function runOnce(scenario, system, params, group, { server, redis, tuned }) {
  const url = await server.createDatabase(`bench_${system.name}`)
  const isOnRedis = system.needs === 'redis'
  if (isOnRedis) redis?.empty()
  const context = {
    url,
    ...(isOnRedis && redis ? { redisUrl: redis.url } : {}),
    queue: 'bench',
    otherQueue: 'bench_other',
    scenario: scenario.name,
    tuned: tuned.get(system.name),
  }
  const serverCpuMs = isOnRedis && redis ? redis.cpuMs : server.cpuMs
  /** @type {NodeJS.Timeout | undefined} */
  let timer
  try {
    const stage = await openStage({ system, context, serverCpuMs })
    try {
      const tooLong = new Promise((_, reject) => {
        timer = setTimeout(() => reject(new Error(`took more than ${runLimitMs / 60_000} minutes`)), runLimitMs)
      })
      return /** @type {readonly Finding[]} */ (await Promise.race([scenario.run(stage, params, group), tooLong]))
    } finally {
      clearTimeout(timer)
      await stage[Symbol.asyncDispose]()
    }
  } finally {
    await server.dropDatabase(url)
  }
}

/** @param {Row[]} rows @param {System} system @param {string} variant @returns {Row} */
function rowOf(rows, system, variant) {
  const found = rows.find((row) => row.system === system.name && row.variant === variant)
  if (found) return found
  const row = { system: system.name, kind: system.kind, needs: system.needs, variant, findings: [], figures: {} }
  rows.push(row)
  return row
}

/** @param {readonly Finding[]} findings */
function figuresOf(findings) {
  const names = new Set(findings.flatMap((finding) => Object.keys(finding.metrics)))
  return Object.fromEntries(
    [...names].map((name) => [name, spread(findings.map((finding) => finding.metrics[name] ?? Number.NaN))]),
  )
}

/** @param {readonly string[]} names @param {Finding} finding */
function brief(names, { metrics }) {
  return names
    .map((name) => `${name} ${Number(metrics[name]?.toPrecision(4))}`)
    .slice(0, 6)
    .join('  ')
}
