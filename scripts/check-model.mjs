// Checks the models of model/: every interleaving of every run, by Spin. Then breaks each model on purpose, and expects the
// promise that the mutation breaks to fail; the story of a run that fails is printed, as it should not have been.
// Needs spin and a C compiler. Ends with 1 where a promise does not hold or a mutation is not noticed, 3 where they are missing.
// Usage: node scripts/check-model.mjs [part of the name of a model or mutation, several with | between] [--story]
import { spawnSync } from 'node:child_process'
import { cpSync, mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { models } from '../model/runs.mjs'

const source = join(fileURLToPath(import.meta.url), '../../model')
const wanted = (process.argv[2]?.startsWith('--') ? undefined : process.argv[2])?.split('|') ?? ['']
const tellsStories = process.argv.includes('--story')

for (const tool of ['spin', 'gcc'])
  if (spawnSync(tool, [tool === 'spin' ? '-V' : '--version']).error) {
    console.error(
      `${tool} is not installed. Debian and Ubuntu: apt-get install spin gcc; macOS: brew install spin; else https://spinroot.com`,
    )
    process.exit(3)
  }

let failures = 0
for (const { name, about, runs, mutations } of models) {
  const isWanted = (what) => wanted.some((part) => `${name} ${what}`.includes(part))
  for (const flags of runs) {
    if (!isWanted(flags.join(' '))) continue
    const run = check(name, flags, [])
    if (run.broken) failures++
    console.log(
      `${run.broken ? 'BROKEN ' : 'holds  '} ${label(name, flags)} ${run.states.padStart(9)} states, depth ${run.depth.padStart(6)}, ${run.seconds} s  ${about}`,
    )
    if (run.broken) console.log(run.story)
  }
  for (const [mutation, flags, promise] of mutations) {
    if (!isWanted(mutation)) continue
    const { broken, story } = check(name, [...flags, mutation], ['-DBFS'])
    const isNoticed = broken?.startsWith(promise) ?? false
    if (!isNoticed) failures++
    console.log(
      `${isNoticed ? 'noticed' : 'MISSED '} ${label(name, flags)} ${mutation.toLowerCase().replaceAll('_', ' ')}: ${broken ?? 'nothing is broken'}${isNoticed ? '' : `, not "${promise}"`}`,
    )
    if (tellsStories || (broken && !isNoticed)) console.log(story)
  }
}
console.log(failures === 0 ? 'All promises of the models hold, and all mutations are noticed.' : `${failures} failed.`)
process.exitCode = failures > 0 ? 1 : 0

// --- internal ---

/** Breadth first finds the shortest story; depth first is faster where there is none. */
function check(name, flags, how) {
  const directory = mkdtempSync(join(tmpdir(), 'dueq-model-'))
  const run = (command, args) => spawnSync(command, args, { cwd: directory, encoding: 'utf8', maxBuffer: 2 ** 28 })
  try {
    cpSync(source, directory, { recursive: true })
    const file = `${name}.pml`
    const defines = flags.map((flag) => `-D${flag}`)
    const unknown = flags.find((flag) => !new RegExp(`\\b${flag}\\b`).test(readFileSync(join(directory, file), 'utf8')))
    if (unknown) throw new Error(`${file} does not know ${unknown}`)
    const made = run('spin', ['-a', ...defines, file])
    const compiled = run('gcc', ['-O2', '-w', '-DSAFETY', '-DCOLLAPSE', ...how, '-o', 'pan', 'pan.c'])
    if (compiled.status !== 0) throw new Error(`${file}: ${made.stdout}${made.stderr}${compiled.stderr}`)
    // -E: what ends with time is no deadlock.
    const { stdout } = run('./pan', ['-m5000000', '-w22', '-E', '-n'])
    const found = (pattern) => pattern.exec(stdout)?.[1]
    const errors = found(/errors: (\d+)/)
    if (errors === undefined || /max search depth too small|out of memory/.test(stdout))
      throw new Error(`${label(name, flags)} was not checked to the end:\n${stdout}`)
    const trail = errors === '0' ? '' : run('spin', ['-t', '-T', ...defines, file]).stdout
    const story = trail.slice(0, trail.indexOf('spin: '))
    return {
      states: found(/(\d+) states, stored/),
      depth: found(/depth reached (\d+)/),
      seconds: Number(found(/elapsed time ([\d.e+-]+)/)).toFixed(1),
      broken: errors === '0' ? undefined : (/BROKEN: (.*)/.exec(story)?.[1] ?? 'an error without a promise'),
      story,
    }
  } finally {
    rmSync(directory, { recursive: true, force: true })
  }
}

function label(name, flags) {
  return `${[name, ...flags].join(' ').padEnd(20)}`
}
