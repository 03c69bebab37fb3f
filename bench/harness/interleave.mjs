// Runs everything, on one server: scenario by scenario, each in rounds (rounds.mjs).
import { nodeVersion } from './node.mjs'
import { redisSettings, redisVersion, startRedis } from './redis.mjs'
import { runScenario } from './rounds.mjs'
import { startServer } from './server.mjs'
import { loadSystem } from './systems.mjs'
import { tuneSystems } from './tuning.mjs'

/**
 * @typedef {import('../contract.js').System} System
 * @typedef {import('./scenario.js').Scenario} Scenario
 * @typedef {{ scenario: string, system: string, variant: string, error: string }} Failure
 * @typedef {{
 *   rounds: number, isQuick: boolean, variants: string | undefined, signal: AbortSignal, print: (line: string) => void,
 *   overrides: readonly { scenario: string, param: string, value: unknown }[],
 * }} Options
 */

/**
 * Gives everything; `onScenario` gets what there is after each scenario.
 * @param {Options & { systems: readonly System[], scenarios: readonly Scenario[], onScenario: (soFar: any) => void }} options
 */
export async function runAll({ systems, scenarios, onScenario, ...options }) {
  const server = await startServer()
  const redis = systems.some(({ needs }) => needs === 'redis') ? await startRedis() : undefined
  /** @type {Failure[]} */
  const failures = []
  /** @type {import('./rounds.mjs').Measured[]} */
  const results = []
  /** @type {Record<string, ReturnType<typeof described>>} */
  const used = {}
  const soFar = () => ({
    server: { version: server.version, settings: server.settings },
    redis: redis && { version: redisVersion(), settings: redisSettings },
    systems: used,
    scenarios: results,
    failures,
  })
  try {
    const taking = await Promise.all(scenarios.map((scenario) => withFloors(systems, scenario)))
    const tuned = await tuneSystems(taking.flat(), scenarios, server, options)
    for (const [i, scenario] of scenarios.entries()) {
      if (options.signal.aborted) break
      const chosen = /** @type {System[]} */ (taking[i])
      for (const system of chosen) used[system.name] = described(system, tuned.get(system.name))
      results.push(await runScenario(scenario, chosen, { ...options, server, redis, tuned, failures }))
      onScenario(soFar())
    }
  } finally {
    await redis?.stop()
    await server.stop()
  }
  return soFar()
}

// --- internal ---

/** Whoever chose `floor` gets the floors of the scenario, in their place. @param {readonly System[]} systems @param {Scenario} scenario */
async function withFloors(systems, scenario) {
  const floors = systems.some(({ name }) => name === 'floor') ? scenario.floors : []
  const others = systems.filter(
    ({ kind, name }) => kind !== 'floor' || (name !== 'floor' && scenario.floors.includes(name)),
  )
  const own = others.filter(({ kind }) => kind === 'own')
  const peers = others.filter(({ kind }) => kind === 'peer')
  const named = others.filter(({ kind, name }) => kind === 'floor' && !floors.includes(name))
  return [...own, ...(await Promise.all(floors.map(loadSystem))), ...named, ...peers]
}

/** @param {System} system @param {unknown} tuned */
function described(system, tuned) {
  const { kind, settings, coalesces, needs, minNode } = system
  const found = tuned === undefined ? undefined : system.describeTuned?.(tuned)
  return { kind, version: system.version(), settings, coalesces, needs, node: nodeVersion(minNode), tuned: found }
}
