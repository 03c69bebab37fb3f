// Finds the adapters: each file of systems/ is one, by its name.
import { existsSync, readdirSync } from 'node:fs'

const folder = new URL('../systems/', import.meta.url)

/** The names of all systems. */
export function systemNames() {
  return readdirSync(folder, { withFileTypes: true })
    .filter((entry) => entry.isFile() && entry.name.endsWith('.mjs'))
    .map((entry) => entry.name.slice(0, -4))
    .toSorted()
}

/**
 * @param {string} name
 * @returns {Promise<import('../contract.js').System>}
 */
export async function loadSystem(name) {
  const file = new URL(`${name}.mjs`, folder)
  if (!existsSync(file)) throw new Error(`There is no system ${name}. There are: ${systemNames().join(', ')}.`)
  return (await import(file.href)).default
}
