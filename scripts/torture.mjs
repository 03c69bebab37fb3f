// Runs `dueq torture` over many seeds, one after the other, and sums what it shows: the proof at length.
// Usage: npm run torture -- [--seeds 20] [--first 1] [options of `dueq torture`, 60 s each by default]
// Without --url each run starts a server of its own, which is killed as well. Exit code 1 where a run broke a rule.
import { spawn } from 'node:child_process'
import { join } from 'node:path'

const main = join(import.meta.dirname, '../dist/esm/cli/main.js')
const { seeds, first, rest } = readArgs(process.argv.slice(2))
const runs = []
let isInterrupted = false
process.on('SIGINT', () => {
  isInterrupted = true // the run under way ends early and is judged
})

print('seed', 'messages', 'per s', 'delivered', 'again', 'explained', 'unknown', 'lapses', 'refused', 'broken')
for (let seed = first; seed < first + seeds && !isInterrupted; seed++) {
  const run = await torture(seed)
  if (run === undefined) continue
  runs.push(run)
  const { messages, duplicates, effects, rules, failures } = run
  const broken = Object.entries(rules).flatMap(([rule, count]) => (count > 0 ? [`${rule} ${count}`] : []))
  if (messages.left > 0) broken.push(`left over ${messages.left}`)
  const found = [...broken, ...failures].join(', ') || '-'
  const counts = [messages.enqueued, messages.perSecond, messages.delivered, duplicates.count, duplicates.explained]
  print(seed, ...counts, messages.unknown, effects.lapses, effects.refusedSettles, found)
  for (const story of run.stories) process.stdout.write(`\n${story}\n`)
  if (!run.ok) process.stdout.write(`journals: ${run.journals}\n`)
}
summarize()

function readArgs(args) {
  const take = (name, otherwise) => {
    const at = args.indexOf(name)
    return at < 0 ? otherwise : Number(args.splice(at, 2)[1])
  }
  return { seeds: take('--seeds', 20), first: take('--first', 1), rest: args }
}

/** The summary of one run; undefined, and a failure, where there is none. */
async function torture(seed) {
  const target = rest.includes('--url') ? [] : ['--embedded']
  const child = spawn(process.execPath, [main, 'torture', '--json', '--seed', String(seed), ...target, ...rest], {
    stdio: ['ignore', 'pipe', 'inherit'],
  })
  let text = ''
  child.stdout.setEncoding('utf8').on('data', (piece) => {
    text += piece
  })
  const code = await new Promise((resolve) => child.once('close', resolve))
  const summary = parse(text)
  if (summary?.rules && code !== 1) return summary
  process.exitCode = 1
  if (summary?.rules) return summary
  process.stdout.write(`seed ${seed}: no result, exit code ${code} ${text}\n`)
  return undefined
}

function parse(text) {
  try {
    return JSON.parse(text)
  } catch {
    return undefined
  }
}

function summarize() {
  const sum = (of) => runs.reduce((total, run) => total + of(run), 0)
  const names = [
    ...new Set(runs.flatMap(({ faults, notAvailable }) => [...faults, ...notAvailable].map(({ name }) => name))),
  ]
  process.stdout.write('\n')
  print('fault', 'count', 'effective', 'effect')
  for (const name of names) {
    const of = runs.flatMap(({ faults }) => faults.filter((fault) => fault.name === name))
    const total = (field) => of.reduce((count, fault) => count + fault[field], 0)
    const why = runs.flatMap(({ notAvailable }) => notAvailable).find((one) => one.name === name)?.why
    print(name, total('count'), total('effective'), why ? `not available: ${why}` : `${total('sum')} ${of[0].effect}`)
  }
  process.stdout.write(`
${runs.length} runs, ${Math.round(sum(({ seconds }) => seconds))} s of load: ${sum(({ messages }) => messages.enqueued)} messages enqueued, ${sum(({ messages }) => messages.delivered)} delivered, ${sum(({ messages }) => messages.unknown)} of unknown outcome, ${sum(({ messages }) => messages.rolledBack)} rolled back or refused
duplicates ${sum(({ duplicates }) => duplicates.count)}, explained ${sum(({ duplicates }) => duplicates.explained)}: ${['lapsed', 'retried', 'released'].map((why) => `${sum(({ duplicates }) => duplicates[why])} ${why}`).join(', ')}
effects: ${Object.keys(runs[0]?.effects ?? {})
    .map((name) => `${name} ${sum(({ effects }) => effects[name])}`)
    .join(', ')}
rules: ${Object.keys(runs[0]?.rules ?? {})
    .map((name) => `${name} ${sum(({ rules }) => rules[name])}`)
    .join(', ')}, left over ${sum(({ messages }) => messages.left)}
`)
}

function print(...cells) {
  process.stdout.write(
    `${cells.map((cell, at) => (at === 0 ? String(cell).padEnd(20) : String(cell).padStart(9))).join(' ')}\n`,
  )
}
