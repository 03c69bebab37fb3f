// Finds the best settings of systems that can be tuned, once, by short drains on the same server.
import { drain } from './draining.mjs'
import { openStage } from './stage.mjs'

/** What a short drain takes: enough to tell batches and connections apart. */
const messages = 20_000

/** Scenarios where batches and connections of consumers decide. */
const tunedFor = new Set(['drain', 'future', 'held', 'mixed', 'memory', 'payloads'])

/**
 * Gives what was found by the name of the system. Nothing is tuned for a quick run, or where no scenario drains.
 * @param {readonly import('../contract.js').System[]} systems @param {readonly import('./scenario.js').Scenario[]} scenarios
 * @param {import('./server.mjs').Server} server
 * @param {{ isQuick: boolean, print: (line: string) => void }} options
 */
export async function tuneSystems(systems, scenarios, server, { isQuick, print }) {
  /** @type {Map<string, unknown>} */
  const found = new Map()
  const isNeeded = scenarios.some(({ name }) => tunedFor.has(name))
  if (isQuick || !isNeeded) return found
  /** Systems that share a way of tuning share what it found. @type {Map<unknown, unknown>} */
  const byWay = new Map()
  for (const system of new Set(systems)) {
    if (!system.tune) continue
    if (!byWay.has(system.tune)) {
      print(`Tuning ${system.name} …`)
      const tuned = await system.tune((candidate, processes) => drained(system, candidate, processes, server))
      print(`  ${system.describeTuned?.(tuned) ?? JSON.stringify(tuned)}`)
      byWay.set(system.tune, tuned)
    }
    found.set(system.name, byWay.get(system.tune))
  }
  return found
}

// --- internal ---

/**
 * @param {import('../contract.js').System} system @param {unknown} tuned @param {number} processes
 * @param {import('./server.mjs').Server} server
 */
async function drained(system, tuned, processes, server) {
  const url = await server.createDatabase(`tune_${system.name}`)
  const context = { url, queue: 'bench', otherQueue: 'bench_other', scenario: 'drain', tuned }
  const stage = await openStage({ system, context, serverCpuMs: server.cpuMs })
  try {
    await stage.fill({ count: messages })
    return (await drain(stage, { processes, count: messages, limitMs: 30_000 })).rate
  } finally {
    await stage[Symbol.asyncDispose]()
    await server.dropDatabase(url)
  }
}
