import { readdirSync, readFileSync } from 'node:fs'
import postgres from 'postgres'
import { afterAll, describe, expect, inject, it } from 'vitest'
import { killAll, startProcess } from '../support/processes.js'

const main = 'dist/esm/cli/main.js'
const small = ['demo', '--messages', '400', '--seconds', '5', '--json']

afterAll(killAll)

describe('dueq demo', () => {
  it('kills a consumer, accounts for every message and leaves nothing behind', async () => {
    const demo = startProcess(main, [...small, '--url', inject('databaseUrl')])
    const { code } = await demo.exited
    expect({ code, lines: demo.lines, stderr: demo.stderr }).toMatchObject({
      code: 0,
      lines: [{ ok: true, enqueued: 400, delivered: 400, early: 0, lost: 0, shared: 0, problems: [] }],
    })
    const { killed, lateness } = demo.lines[0] as Summary
    expect(lateness.p50).toBeGreaterThan(0)
    expect(killed.held).toBeGreaterThanOrEqual(10)
    expect(killed.redelivered).toHaveLength(killed.held)
    for (const { redeliveredAfterMs } of killed.redelivered) expect(redeliveredAfterMs).toBeGreaterThanOrEqual(0)
    expect(await schemas()).toEqual([])
    expect(crewOf(demo.pid)).toEqual([])
  })

  it('takes its consumers and its schema with it when it is killed itself', async () => {
    const demo = startProcess(main, [...small, '--url', inject('databaseUrl')])
    const before = await eventually(
      () => crewOf(demo.pid),
      (crew) => crew.length === 3,
    )
    await demo.kill('SIGKILL')
    await eventually(
      () => before.filter(isRunning),
      (crew) => crew.length === 0,
    )
    expect(await eventually(schemas, (names) => names.length === 0)).toEqual([])
  })

  it('cleans up on Ctrl-C', async () => {
    const demo = startProcess(main, [...small, '--url', inject('databaseUrl')])
    await eventually(
      () => crewOf(demo.pid),
      (crew) => crew.length === 3,
    )
    await demo.kill('SIGINT')
    expect((await demo.exited).code).toBe(130)
    expect(await schemas()).toEqual([])
    expect(crewOf(demo.pid)).toEqual([])
  })

  it('refuses a rate at which no consumer would hold enough to make a crash of it', async () => {
    const demo = startProcess(main, ['demo', '--messages', '100', '--seconds', '60'])
    expect((await demo.exited).code).toBe(2)
    expect(demo.stderr).toContain('messages a second')
  })
})

// --- internal ---

type Summary = {
  readonly lateness: { readonly p50: number }
  readonly killed: { readonly held: number; readonly redelivered: readonly { readonly redeliveredAfterMs: number }[] }
}

async function schemas(): Promise<string[]> {
  const sql = postgres(inject('databaseUrl'), { max: 1, onnotice: () => {} })
  try {
    return (await sql`select nspname from pg_namespace where nspname like 'dueq\\_demo\\_%'`).map(
      (row) => row['nspname'],
    )
  } finally {
    await sql.end()
  }
}

/** The consumer processes of a demonstration, found by their parent. */
function crewOf(parent: number): number[] {
  return readdirSync('/proc')
    .filter((name) => /^\d+$/.test(name))
    .map(Number)
    .filter((pid) => parentOf(pid) === parent)
}

function parentOf(pid: number): number | undefined {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, 'utf8')
    return Number(stat.slice(stat.lastIndexOf(')') + 2).split(' ')[1])
  } catch {
    return undefined
  }
}

function isRunning(pid: number): boolean {
  try {
    return readFileSync(`/proc/${pid}/cmdline`, 'utf8').includes('crew-consumer')
  } catch {
    return false
  }
}

/** Asks again until the answer is right, for at most 10 s; gives the last answer. */
async function eventually<T>(ask: () => T | Promise<T>, isRight: (answer: T) => boolean): Promise<T> {
  const deadline = Date.now() + 10_000
  for (;;) {
    const answer = await ask()
    if (isRight(answer)) return answer
    if (Date.now() > deadline) throw new Error(`Still not so after 10 s: ${JSON.stringify(answer)}`)
    await new Promise((resolve) => setTimeout(resolve, 50))
  }
}
