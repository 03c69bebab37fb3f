// What a scenario works with: one system, installed in a fresh database, and processes for its producers and consumers.
// Whatever the scenario starts here ends with the stage.
import postgres from 'postgres'
import { startRole } from './crew.mjs'
import { paddingFor } from './payload.mjs'
import { pause } from './time.mjs'

/**
 * @typedef {import('../contract.js').System} System
 * @typedef {import('../contract.js').Context} Context
 * @typedef {Awaited<ReturnType<typeof openStage>>} Stage
 * @typedef {import('./crew.mjs').Role} Role
 */

/**
 * @param {{ system: System, context: Context, serverCpuMs: () => number }} options
 */
export async function openStage({ system, context, serverCpuMs }) {
  const sql = postgres(context.url, { max: 3, onnotice: () => {} })
  /** @type {Role[]} */
  const roles = []
  const role = () => {
    const started = startRole(system.minNode)
    roles.push(started)
    return started
  }
  const manager = role()
  /** @param {string} verb @param {...unknown} args */
  const manage = (verb, ...args) => manager.call('manage', { system: system.name, verb, args: [context, ...args] })
  const end = async () => {
    await Promise.all(roles.map((one) => one.end()))
    await sql.end({ timeout: 1 })
  }
  try {
    await manage('setup')
  } catch (error) {
    await end()
    throw error
  }

  const stage = {
    system,
    context,
    sql,
    serverCpuMs,
    /** Calls what an operator does, of the contract, with the context in front, under the Node that the system needs. */
    manage,
    /**
     * Starts a process of producers.
     * @param {{ bytes?: number, count?: number } & Partial<import('../contract.js').ProducerOptions>} [options]
     */
    async producers({ bytes = 100, count = 1, ...options } = {}) {
      const started = role()
      await started.call('openProducers', {
        system: system.name,
        context,
        count,
        bytes,
        options: { callers: 1, ...options },
      })
      return started
    },
    /**
     * Starts processes of consumers, ready for messages.
     * @param {{ processes?: number, count?: number, isTimingClaims?: boolean, sampleMemoryEvery?: number, queue?: string }} [options]
     */
    async consumers({ processes = 1, count = 1, isTimingClaims, sampleMemoryEvery, queue } = {}) {
      const started = Array.from({ length: processes }, role)
      await Promise.all(started.map((one) => one.call('version')))
      await stage.openAgain(started, { count, isTimingClaims, sampleMemoryEvery, queue })
      return started
    },
    /**
     * Opens consumers in processes that run already, and whose consumers are closed.
     * @param {readonly Role[]} running
     * @param {{ count?: number, isTimingClaims?: boolean, sampleMemoryEvery?: number, queue?: string }} [options]
     */
    async openAgain(running, { count = 1, isTimingClaims, sampleMemoryEvery, queue } = {}) {
      const options = { processes: running.length, queue }
      const args = { system: system.name, context, count, isTimingClaims, sampleMemoryEvery, options }
      await Promise.all(running.map((one) => one.call('openConsumers', args)))
    },
    /** Starts one process of consumers. @param {{ isTimingClaims?: boolean, sampleMemoryEvery?: number, queue?: string }} [options] */
    async consumer(options) {
      return /** @type {Role} */ ((await stage.consumers(options))[0])
    },
    /**
     * Fills the queue, then leaves the database as an old one would be: vacuumed, analyzed, checkpointed.
     * @param {{ count: number, delayMs?: number, bytes?: number }} options
     */
    async fill({ count, delayMs = 0, bytes = 100 }) {
      await manage('backlog', { count, delayMs, payload: { t: 0, p: paddingFor(bytes) } })
      await stage.settle()
    },
    async settle() {
      await sql`vacuum analyze`
      await sql`checkpoint`
    },
    /**
     * Waits until `count` messages are handled in all, or the time is over. Gives the number handled.
     * @param {readonly Role[]} consumers @param {number} count @param {number} limitMs
     */
    async untilHandled(consumers, count, limitMs) {
      const end = performance.now() + limitMs
      for (;;) {
        const counts = await Promise.all(consumers.map((one) => one.call('handledCount')))
        const handled = counts.reduce((sum, one) => sum + one, 0)
        if (handled >= count || performance.now() > end) return handled
        await pause(15)
      }
    },
    /**
     * Processor time of the server and of the given processes meanwhile, in ms.
     * @template T
     * @param {readonly Role[]} clients @param {() => Promise<T>} work
     */
    async measured(clients, work) {
      const ofClients = async () =>
        (await Promise.all(clients.map((one) => one.call('cpu')))).reduce((sum, one) => sum + one, 0)
      const before = { server: serverCpuMs(), client: await ofClients() }
      const result = await work()
      return {
        result,
        serverCpuMs: serverCpuMs() - before.server,
        clientCpuMs: (await ofClients()) - before.client,
      }
    },
    /** Ends processes, in order: what is claimed is settled. @param {readonly Role[]} ended */
    async close(ended) {
      await Promise.all(
        ended.map(async (one) => {
          await one.call('closeProducers').catch(() => {})
          await one.call('closeConsumers').catch(() => {})
          await one.end()
        }),
      )
      for (const one of ended) roles.splice(roles.indexOf(one), 1)
    },
    async [Symbol.asyncDispose]() {
      await manage('teardown').catch(() => {})
      await end()
    },
  }
  return stage
}
