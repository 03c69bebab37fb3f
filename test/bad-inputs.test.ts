/**
 * Every bad input gives its documented code and says what to do; nothing is written, and nothing hangs. The inputs are the
 * tables in bad-inputs/.
 */
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { commands } from './bad-inputs/command-line.js'
import { databases } from './bad-inputs/databases.js'
import { definitions } from './bad-inputs/definitions.js'
import { messages } from './bad-inputs/messages.js'
import type { World } from './bad-inputs/row.js'
import { statements } from './bad-inputs/sql.js'
import { startClient } from './client/client.js'
import { killAll, startProcess } from './support/processes.js'

const deadlineMs = 5_000

let world: World
beforeAll(async () => {
  const test = await startClient()
  const queue = await test.queue({ lease: '12h' })
  const claimed = async () => {
    await queue.enqueue('bad inputs')
    return (await queue.dequeue())[0]!
  }
  const stale = await claimed()
  await test.travel('12 hours')
  await queue.dequeue()
  const settled = await claimed()
  await settled.ack()
  world = { test, queue, stale, settled, leased: await claimed() }
})
afterAll(async () => {
  killAll()
  await world.test.close()
})

/** Everything stored, as one text. */
const stored = async (): Promise<string> => {
  const { sql, schema } = world.test
  const rows = await sql.unsafe(`
    select (select json_agg(q order by id) from ${schema}.queues q)::text as queues,
           (select json_agg(m order by id) from ${schema}.messages m)::text as messages,
           (select json_agg(d order by id) from ${schema}.dead_letters d)::text as dead_letters`)
  return JSON.stringify(rows)
}

/** Runs what must end in time and leave no trace. */
async function untouched<T>(run: () => Promise<T>): Promise<T> {
  const before = await stored()
  const start = performance.now()
  const result = await run()
  expect(performance.now() - start).toBeLessThan(deadlineMs)
  expect(await stored()).toBe(before)
  return result
}

/** The error of what must fail. */
const failure = (attempt: () => unknown): Promise<Error & { readonly code?: unknown }> =>
  untouched(async () => {
    try {
      await attempt()
    } catch (error) {
      expect(error).toBeInstanceOf(Error)
      return error as Error
    }
    throw new Error('It did not fail')
  })

describe.each([
  ['definitions and connections', definitions],
  ['messages', messages],
  ['databases', databases],
])('%s', (_, rows) => {
  it.each(rows)('%s: %s', async (_what, code, says, attempt) => {
    const error = await failure(() => attempt(world))
    expect(error).toMatchObject({ name: expect.stringMatching(/^(DueqError|LeaseLostError)$/), code })
    expect(error.message).toMatch(says)
    expect(error.message).not.toContain('secret')
  })
})

describe('SQL', () => {
  it.each(statements)('%s: %s', async (_what, sqlState, says, text) => {
    const { sql, schema } = world.test
    const error = await failure(() => sql.unsafe(text.replaceAll('dueq.', `${schema}.`)))
    expect(error.code).toBe(sqlState)
    expect(error.message).toMatch(says)
  })
})

describe('command line', () => {
  it.each(commands)('%s: exit code %i, %s', async (_what, exitCode, code, says, args) => {
    const { url, schema } = world.test
    await untouched(async () => {
      const env = { DUEQ_DATABASE_URL: url, DUEQ_SCHEMA: schema }
      const dueq = startProcess('dist/esm/cli/main.js', [...args, '--json'], env)
      expect(await dueq.exited).toEqual({ code: exitCode, signal: null })
      expect(dueq.lines).toHaveLength(1)
      const { error } = dueq.lines[0] as { readonly error: { readonly code: string; readonly message: string } }
      expect(error.code).toBe(code)
      expect(error.message).toMatch(says)
      expect(error.message).not.toContain('secret')
    })
  })
})

it('the tables hold at least 60 inputs and 20 codes', () => {
  const codes = [...definitions, ...messages, ...databases, ...statements].map(([, code]) => code)
  expect(codes.length + commands.length).toBeGreaterThanOrEqual(60)
  expect(new Set([...codes, ...commands.map(([, , code]) => code)]).size).toBeGreaterThanOrEqual(20)
})
