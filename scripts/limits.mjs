// Measures what happens at the limits: many queues, many consumers, large batches, large payloads, extreme numbers. Each
// scenario runs in a process of its own on a fresh embedded server, and prints for each step how long it took, the longest
// time that the event loop was blocked meanwhile, and the peak of the process's memory so far. docs/scaling.md quotes it.
// Usage: node scripts/limits.mjs [scenario …] [--major=18]   (scenarios: the files of scripts/limits/)
import { spawn } from 'node:child_process'
import { readdirSync } from 'node:fs'
import { basename, join } from 'node:path'
import { monitorEventLoopDelay } from 'node:perf_hooks'
import { fileURLToPath } from 'node:url'
import { startEmbedded } from '../dist/esm/cli/embedded.js'
import { connect, migrate } from '../dist/esm/index.js'

const directory = join(import.meta.dirname, 'limits')
const scenarios = readdirSync(directory).map((file) => basename(file, '.mjs'))

if (process.env.LIMITS_URL) await runScenario(process.argv[2], process.env.LIMITS_URL, Number(process.env.LIMITS_PID))
else await runAll(process.argv.slice(2))

/** One process and one server for each scenario, so that memory and bloat are its own. */
async function runAll(args) {
  const major = args.find((arg) => arg.startsWith('--major='))?.slice(8)
  const chosen = args.filter((arg) => !arg.startsWith('--'))
  const unknown = chosen.filter((name) => !scenarios.includes(name))
  if (unknown.length > 0) throw new Error(`Unknown scenario ${unknown.join(', ')}. There are: ${scenarios.join(', ')}.`)
  print('scenario', 'step', 'size', 'time', 'blocked', 'memory', 'found')
  for (const scenario of chosen.length > 0 ? chosen : scenarios) {
    const server = await startEmbedded({ major: major ? Number(major) : undefined })
    try {
      const env = { ...process.env, LIMITS_URL: server.url, LIMITS_PID: String(server.pid) }
      const child = spawn(process.execPath, [fileURLToPath(import.meta.url), scenario], { env, stdio: 'inherit' })
      const code = await new Promise((resolve) => child.once('close', resolve))
      if (code !== 0) process.exitCode = 1
    } finally {
      await server.stop()
    }
  }
}

async function runScenario(scenario, url, serverPid) {
  const { default: run } = await import(join(directory, `${scenario}.mjs`))
  await migrate({ url, schema: 'dueq' })
  const events = []
  const dueq = connect({ url, schema: 'dueq', onEvent: (event) => events.push(event.type) })
  const delay = monitorEventLoopDelay({ resolution: 5 })
  delay.enable()

  /** Runs one step and prints its line. What the step returns as text is what it found. */
  const step = async (name, size, work) => {
    delay.reset()
    await pause(20) // the first turn after a reset is not measured
    const start = performance.now()
    const found = await work().catch((error) => `${error.code}: ${error.message.slice(0, 150)}`)
    const tookMs = performance.now() - start
    await pause(20) // the delay of a blocked loop is seen by the next turn
    const memory = process.resourceUsage().maxRSS / 1024
    const text = typeof found === 'string' ? found : ''
    print(scenario, name, size, `${round(tookMs)} ms`, `${round(delay.max / 1e6)} ms`, `${round(memory)} MB`, text)
  }
  try {
    await run({ url, serverPid, dueq, events, step, pause, round })
  } finally {
    await dueq.close({ deadline: '5s' })
  }
}

function print(scenario, step, size, time, blocked, memory, found) {
  const left = [scenario.padEnd(13), step.padEnd(44), String(size).padStart(10)]
  console.log([...left, ...[time, blocked, memory].map((text) => text.padStart(10)), ` ${found}`].join(' ').trimEnd())
}

function round(value) {
  return value >= 100 ? Math.round(value) : Number(value.toPrecision(2))
}

function pause(ms) {
  return new Promise((resolve) => setTimeout(resolve, ms))
}
