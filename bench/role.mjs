// A process of a run: producers or consumers of one system. It does what the runner says over IPC, one verb at a time or
// several at once, and ends with the runner.
import * as consuming from './harness/consuming.mjs'
import * as producing from './harness/producing.mjs'
import { loadSystem } from './harness/systems.mjs'

/** @type {Record<string, (args: any) => unknown>} */
const verbs = {
  ...consuming,
  ...producing,
  cpu: () => {
    const { user, system } = process.cpuUsage()
    return (user + system) / 1000
  },
  version: () => process.version,
  /** What an operator does: setup, backlog, isEmpty … @param {{ system: string, verb: string, args: unknown[] }} order */
  manage: async ({ system, verb, args }) => {
    const found = /** @type {any} */ (await loadSystem(system))
    return found[verb](...args)
  },
}

process.on('message', async (/** @type {{ id: number, verb: string, args: never }} */ { id, verb, args }) => {
  const answer = await Promise.resolve()
    .then(() => verbs[verb]?.(args))
    .then(
      (result) => ({ id, result }),
      (error) => ({ id, error: String(error?.stack ?? error) }),
    )
  process.send?.(answer)
})
process.on('disconnect', () => process.exit())
