// Starts the processes of a run and talks to them. Each runs under the Node that its system needs.
import { fork } from 'node:child_process'
import { fileURLToPath } from 'node:url'
import { nodeFor } from './node.mjs'

const role = fileURLToPath(new URL('../role.mjs', import.meta.url))

/**
 * @typedef {{
 *   call: (verb: string, args?: object) => Promise<any>,
 *   end: () => Promise<void>,
 * }} Role
 */

/**
 * Starts a process. Everything rejects once it is dead.
 * @param {number} minNode
 * @returns {Role}
 */
export function startRole(minNode) {
  const child = fork(role, [], { execPath: nodeFor(minNode), serialization: 'advanced', execArgv: [] })
  /** @type {Map<number, { resolve: (result: unknown) => void, reject: (error: Error) => void }>} */
  const waiting = new Map()
  let calls = 0
  /** @type {Error | undefined} */
  let dead
  /** @param {string} why */
  const die = (why) => {
    dead ??= new Error(why)
    for (const { reject } of waiting.values()) reject(dead)
    waiting.clear()
  }
  child.on('message', (/** @type {{ id: number, result?: unknown, error?: string }} */ { id, result, error }) => {
    const call = waiting.get(id)
    waiting.delete(id)
    if (error === undefined) call?.resolve(result)
    else call?.reject(new Error(error))
  })
  child.on('error', (error) => die(error.message))
  const gone = new Promise((resolve) =>
    child.once('exit', (code, signal) => {
      die(`a process of the run ended with ${signal ?? code}`)
      resolve(undefined)
    }),
  )
  return {
    call(verb, args) {
      if (dead) return Promise.reject(dead)
      return new Promise((resolve, reject) => {
        const id = ++calls
        waiting.set(id, { resolve, reject })
        child.send({ id, verb, args })
      })
    },
    async end() {
      if (child.connected) child.disconnect()
      const timer = setTimeout(() => child.kill('SIGKILL'), 5000)
      await gone
      clearTimeout(timer)
    },
  }
}
