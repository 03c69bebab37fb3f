// Where it was measured.
import { execFileSync } from 'node:child_process'
import { cpus, release, totalmem, type } from 'node:os'

export function machine() {
  const processors = cpus()
  return {
    processor: processors[0]?.model.trim() || process.arch,
    processors: processors.length,
    memoryGb: Math.round(totalmem() / 2 ** 30),
    system: `${type()} ${release()}`,
    node: process.version,
    commit: commit(),
  }
}

function commit() {
  try {
    const git = (/** @type {string[]} */ ...args) =>
      execFileSync('git', args, {
        cwd: import.meta.dirname,
        encoding: 'utf8',
        stdio: ['ignore', 'pipe', 'ignore'],
      }).trim()
    return (
      git('rev-parse', '--short', 'HEAD') + (git('status', '--porcelain', 'src', 'migrations') ? ' with changes' : '')
    )
  } catch {
    return 'unknown'
  }
}
