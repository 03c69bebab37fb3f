import { afterAll, afterEach, beforeAll, expect, it, vi } from 'vitest'
import { connect } from '../../src/index.js'
import { codeThrown, startClient, type TestClient } from './client.js'

// A port on which nobody answers: whatever takes this URL fails at its first use.
const nowhere = 'postgres://u:p@127.0.0.1:1/d'

let test: TestClient
beforeAll(async () => {
  test = await startClient()
})
afterEach(() => vi.unstubAllEnvs())
afterAll(() => test.close())

const environment = (values: Readonly<Record<string, string | undefined>>): void => {
  for (const name of ['DATABASE_URL', 'DUEQ_DATABASE_URL', 'DUEQ_LISTEN_URL', 'DUEQ_SCHEMA'])
    vi.stubEnv(name, values[name])
}
const isReached = async (...args: Parameters<typeof connect>): Promise<boolean> => {
  await using dueq = connect(...args)
  return await dueq.check().then(
    () => true,
    () => false,
  )
}

it('without any URL connect says which variables to set', () => {
  environment({})
  expect(codeThrown(() => connect())).toBe('connection.invalid')
  expect(() => connect()).toThrow(/DUEQ_DATABASE_URL or DATABASE_URL/)
})

it('the URL is the option, then DUEQ_DATABASE_URL, then DATABASE_URL', async () => {
  environment({ DATABASE_URL: test.url, DUEQ_SCHEMA: test.schema })
  expect(await isReached()).toBe(true)
  expect(await isReached(process.env['NOT_SET'])).toBe(true)
  environment({ DATABASE_URL: nowhere, DUEQ_DATABASE_URL: test.url, DUEQ_SCHEMA: test.schema })
  expect(await isReached()).toBe(true)
  environment({ DATABASE_URL: test.url, DUEQ_DATABASE_URL: nowhere, DUEQ_SCHEMA: test.schema })
  expect(await isReached()).toBe(false)
  expect(await isReached(test.url)).toBe(true)
  expect(await isReached({ url: test.url })).toBe(true)
})

it('the schema is the option, then DUEQ_SCHEMA', async () => {
  environment({ DATABASE_URL: test.url, DUEQ_SCHEMA: 'nothing_here' })
  expect(await isReached()).toBe(false)
  expect(await isReached({ schema: test.schema })).toBe(true)
})

it('DUEQ_LISTEN_URL is where a client of a URL listens', async () => {
  environment({ DUEQ_LISTEN_URL: nowhere })
  const queue = await test.queue()
  const types: string[] = []
  await using dueq = connect({ url: test.url, schema: test.schema, onEvent: (event) => types.push(event.type) })
  expect(await dueq.queue(queue.name).dequeue({ wait: '1s' })).toEqual([])
  expect(types).toContain('listen.lost')
  expect(types).not.toContain('listen.up')
})

it('an empty variable is as good as none', async () => {
  environment({ DATABASE_URL: test.url, DUEQ_DATABASE_URL: '', DUEQ_SCHEMA: '', DUEQ_LISTEN_URL: '' })
  const queue = await test.queue()
  const types: string[] = []
  await using dueq = connect({ schema: test.schema, onEvent: (event) => types.push(event.type) })
  const waiting = dueq.queue(queue.name).dequeue({ wait: '10s' })
  await expect.poll(() => types, { timeout: 5_000 }).toEqual(['listen.up'])
  await dueq.close()
  expect(await waiting).toEqual([])
  expect(codeThrown(() => connect())).toBe('none')
})

it('listen: false listens to nothing, and says nothing about it', async () => {
  const queue = await test.queue()
  const types: string[] = []
  await using dueq = connect({
    url: test.url,
    schema: test.schema,
    listen: false,
    onEvent: (event) => types.push(event.type),
  })
  expect(await dueq.queue(queue.name).dequeue({ wait: '300ms' })).toEqual([])
  expect(types).toEqual([])
  expect((await dueq.check()).isListening).toBe(false)
})
