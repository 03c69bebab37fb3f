// A long run under load and faults, to see what grows: `dueq torture` at a steady rate on a server of its own, with memory,
// connections, tables and indexes sampled all the while, drawn as one picture and judged: every rule of torture holds, and
// what should be flat is flat in the last two thirds. Exit code 1 where one of them does not, 130 after Ctrl-C, which ends the
// run early and judges it.
// Usage: npm run soak -- [--for 15m] [--rate 1000] [--every 5s] [--producers 2] [--consumers 3] [--seed n]
//        [--crash-every 5m]     kill -9 of the server; once, at the beginning, where it is not given
//        [--out .tools/soak] [--docs]     --docs also puts the picture and the table into docs/
//        npm run soak -- --from soak.json       draws and judges a run again
import { execFileSync } from 'node:child_process'
import { randomInt } from 'node:crypto'
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { cpus, totalmem, type } from 'node:os'
import { join } from 'node:path'
import { parseArgs } from 'node:util'
import { faultKinds } from '../dist/esm/cli/torture/faults.js'
import { summarizeTorture } from '../dist/esm/cli/torture/report.js'
import { runTorture } from '../dist/esm/cli/torture/run.js'
import { durationMs, wholeNumber } from '../dist/esm/options.js'
import { judge, withLateness } from './soak/figures.mjs'
import { pageOf, pictureOf } from './soak/page.mjs'
import { startSampler } from './soak/sampler.mjs'

const tellEveryMs = 30_000

const { values: given } = parseArgs({
  options: {
    for: { type: 'string', default: '15m' },
    rate: { type: 'string', default: '1000' },
    every: { type: 'string', default: '5s' },
    producers: { type: 'string', default: '2' },
    consumers: { type: 'string', default: '3' },
    'crash-every': { type: 'string' },
    seed: { type: 'string', default: String(randomInt(2_147_483_647)) },
    out: { type: 'string', default: join(import.meta.dirname, '../.tools/soak') },
    docs: { type: 'boolean', default: false },
    from: { type: 'string' },
  },
})
const result = given.from ? JSON.parse(readFileSync(given.from, 'utf8')) : await soak(optionsOf(given))
report(result)

function optionsOf(given) {
  const forMs = durationMs('for', given.for, { min: '5s', max: '1d' })
  const crashEvery = given['crash-every']
  return {
    forMs,
    // A crash costs the indexes some pages (docs/soak.md): what is to be flat has to be seen without.
    crashEveryMs: crashEvery === undefined ? forMs : durationMs('crash-every', crashEvery, { min: '30s', max: '1d' }),
    everyMs: durationMs('every', given.every, { min: '100ms', max: '10m' }),
    rate: wholeNumber('rate', Number(given.rate), 1, 100_000),
    producers: wholeNumber('producers', Number(given.producers), 1, 16),
    consumers: wholeNumber('consumers', Number(given.consumers), 1, 16),
    seed: wholeNumber('seed', Number(given.seed), 0, 2_147_483_647),
  }
}

async function soak(options) {
  const startedAt = new Date().toISOString()
  const machine = machineHere()
  const interrupted = new AbortController()
  process.once('SIGINT', () => interrupted.abort())
  let sampler
  let server
  let toldAt = 0
  const tell = ({ seconds, enqueued, delivered, processes, database }) => {
    if (enqueued === null || seconds * 1000 < toldAt) return
    toldAt += tellEveryMs
    const memory = processes.map(({ bytes }) => (bytes === null ? '-' : Math.round(bytes / 1e6))).join(' ')
    const depth = database ? `${database.ready} ready, ${database.deadTuples} dead rows` : 'no server'
    note(
      `${Math.round(seconds)} s: ${Math.round(enqueued)}/s in, ${Math.round(delivered)}/s out, ${memory} MB, ${depth}`,
    )
  }
  const outcome = await runTorture({
    ...options,
    target: { url: undefined, schema: undefined },
    listenUrl: undefined,
    messages: undefined,
    faults: faultKinds.map((kind) => (kind.name === 'kill server' ? { ...kind, everyMs: options.crashEveryMs } : kind)),
    journals: undefined,
    drainMs: 120_000,
    signal: interrupted.signal,
    view: { note, progress: () => {} },
    isFirstSpared: true,
    watch: (run) => {
      server = run.server
      sampler = startSampler(run, { everyMs: options.everyMs, onSample: tell })
      return sampler
    },
  })
  const firstMicros = sampler.samples.find(({ database }) => database)?.database.micros
  const samples = withLateness(sampler.samples, sampler.lateness)
  const kills = outcome.spans.filter(({ kind }) => kind === 'kill server')
  return {
    ...{
      startedAt,
      options,
      samples,
      seconds: outcome.loadMs / 1000,
      machine: { ...machine, postgres: server.version },
    },
    serverKills: kills.map(({ fromMicros }) => (fromMicros - firstMicros) / 1e6),
    autovacuums: countUp(samples.map(({ database }) => database?.autovacuums ?? null)),
    torture: summarizeTorture(outcome, options),
  }
}

function report(result) {
  const [picture, page] = [pictureOf(result), pageOf(result)]
  mkdirSync(given.out, { recursive: true })
  writeFileSync(join(given.out, 'soak.json'), `${JSON.stringify(result)}\n`)
  writeFileSync(join(given.out, 'soak.svg'), picture)
  writeFileSync(join(given.out, 'soak.md'), page)
  if (given.docs) writeDocs(picture, page)
  process.stdout.write(page)
  for (const story of result.torture.stories) process.stdout.write(`\n${story}\n`)
  if (!result.torture.ok) process.stdout.write(`journals: ${result.torture.journals}\n`)
  if (!result.torture.ok || judge(result).isFlat === false) process.exitCode = 1
  else if (result.torture.isInterrupted) process.exitCode = 130
}

/** The part of docs/soak.md that a run writes is between two comments. */
function writeDocs(picture, page) {
  const docs = join(import.meta.dirname, '../docs')
  const before = readFileSync(join(docs, 'soak.md'), 'utf8')
  const [start, end] = ['<!-- written by npm run soak -- --docs -->', '<!-- until here -->']
  const [head, rest] = before.split(start)
  writeFileSync(join(docs, 'soak.md'), `${head}${start}\n\n${page}\n${end}${rest.split(end)[1]}`)
  writeFileSync(join(docs, 'soak.svg'), picture)
}

/** How often a counter counted that begins again at 0 with the server. */
function countUp(counts) {
  const known = counts.filter((count) => count !== null)
  return known.reduce(
    (sum, count, at) => sum + (count < (known[at - 1] ?? 0) ? count : count - (known[at - 1] ?? 0)),
    0,
  )
}

function machineHere() {
  let commit = 'unknown'
  try {
    commit = execFileSync('git', ['rev-parse', '--short', 'HEAD'], {
      cwd: import.meta.dirname,
      encoding: 'utf8',
    }).trim()
  } catch {
    // Not a clone.
  }
  const memoryGb = Math.round(totalmem() / 2 ** 30)
  return {
    processors: cpus().length,
    memoryGb,
    system: type(),
    node: process.version,
    commit,
  }
}

function note(text) {
  process.stderr.write(`${text}\n`)
}
