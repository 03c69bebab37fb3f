import { execFileSync } from 'node:child_process'
import { afterAll, beforeAll, expect, it } from 'vitest'
import { startClient, type TestClient } from '../client/client.js'
import { killAll, startProcess } from '../support/processes.js'

let test: TestClient
beforeAll(async () => {
  test = await startClient()
})
afterAll(async () => {
  killAll()
  await test.close()
})

const hourMs = 3_600_000

/** The environment that shifts every clock of a process, the monotonic one included; undefined without libfaketime. */
function libfaketime(shift: string, shiftMs: number): Record<string, string> | undefined {
  try {
    const text = execFileSync('faketime', ['-f', shift, 'env'], {
      encoding: 'utf8',
      stdio: ['ignore', 'pipe', 'ignore'],
    })
    const library = /^LD_PRELOAD=(.+)$/m.exec(text)?.[1]
    const env = { LD_PRELOAD: library ?? '', FAKETIME: shift }
    const now = execFileSync(process.execPath, ['-p', 'Date.now()'], {
      encoding: 'utf8',
      env: { ...process.env, ...env },
    })
    return Math.abs(Number(now) - Date.now() - shiftMs) < 60_000 ? env : undefined
  } catch {
    return undefined
  }
}

/** The environment of a process whose Date is shifted, and nothing else. */
function shiftedDate(shiftMs: number, jumpEveryMs = 0): Record<string, string> {
  const preload = './test/surroundings/fixtures/shifted-date.mjs'
  return { SHIFT_MS: `${shiftMs}`, JUMP_EVERY_MS: `${jumpEveryMs}`, NODE_OPTIONS: `--import ${preload}` }
}

type Host = readonly [what: string, shiftMs: number, env: Record<string, string> | undefined]
const hosts: readonly Host[] = [
  ['an hour ahead', hourMs, shiftedDate(hourMs)],
  ['an hour behind', -hourMs, shiftedDate(-hourMs)],
  ['an hour ahead (libfaketime)', hourMs, libfaketime('+1h', hourMs)],
  ['an hour behind (libfaketime)', -hourMs, libfaketime('-1h', -hourMs)],
]

/** A line of the process. */
type Line = Readonly<Record<string, unknown>>

/** Runs producer and consumer on such a host. Gives what they told, and at the end the message that is left. */
async function runOn(env: Record<string, string>): Promise<readonly Line[]> {
  const queue = await test.queue({ lease: '3s', pollInterval: '1h' })
  const child = startProcess('test/surroundings/fixtures/wrong-clock.mjs', [], {
    DUEQ_URL: test.url,
    DUEQ_TEST_SCHEMA: test.schema,
    DUEQ_QUEUE: queue.name,
    ...env,
  })
  await child.waitForLine<Line>((line) => line['ended'] === 'long', 15_000)
  await child.waitForLine<Line>((line) => line['ended'] === 'delayed', 5_000)
  child.send('stop')
  expect(await child.exited).toEqual({ code: 0, signal: null })
  const [left] = await test.sql`
    select payload, attempt, extract(epoch from due_at)::float * 1000 as due_ms
      from ${test.sql(test.schema)}.message_states where queue = ${queue.name}`
  return [...(child.lines as Line[]), { left }]
}

/** What must be so on every host: nothing early, nothing late, one attempt each, no lease lost. */
function expectUndisturbed(lines: readonly Line[]): void {
  expect(lines.filter((line) => line['wrong'] ?? line['failed'])).toEqual([])
  const started = lines.filter((line) => 'started' in line)
  expect(started.map((line) => [line['started'], line['attempt']]).sort()).toEqual([
    ['delayed', 1],
    ['long', 1],
  ])
  for (const line of started) {
    expect(line['latenessMs']).toBeGreaterThanOrEqual(0)
    expect(line['latenessMs']).toBeLessThan(10_000)
  }
  expect(lines.filter((line) => line['isAborted'])).toEqual([])
  expect(lines.find((line) => 'report' in line)).toMatchObject({ report: { stillRunning: 0 } })
}

it.concurrent.for(hosts)(
  'promise 8: a host whose clock is %s: not early, not late, leases kept, lateness right',
  async ([, shiftMs, env], context) => {
    if (!env) return context.skip('faketime is not installed')
    const lines = await runOn(env)
    const hostNow = lines.find((line) => 'hostNow' in line)!['hostNow'] as number
    expect(Math.abs(hostNow - Date.now() - shiftMs)).toBeLessThan(60_000)
    expectUndisturbed(lines)
    // An instant is the host's own: a Date says nothing of the clock it was read from.
    const { left } = lines.at(-1) as { left: { payload: unknown; due_ms: number } }
    expect(left.payload).toBe('at')
    expect(Math.abs(left.due_ms - (hostNow + 3 * hourMs))).toBeLessThan(30_000)
  },
)

it.concurrent('promise 8: a host whose clock jumps by two hours, forth and back, while it works', async () => {
  const lines = await runOn(shiftedDate(hourMs, 300))
  expectUndisturbed(lines)
})
