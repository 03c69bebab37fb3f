// Behind a real PgBouncer in transaction mode, where that is installed. `npm run test:pooler` runs the whole suite there.
import postgres from 'postgres'
import { afterAll, beforeAll, expect, it, type TestContext } from 'vitest'
import type { ConnectOptions, Dueq } from '../../src/index.js'
import { startProxy } from '../faults/proxy.js'
import { findPgBouncer, missingPgBouncer, type PgBouncer, startPgBouncer } from '../support/pgbouncer.js'
import { codeOf, startClient, type TestClient } from './client.js'

let client: TestClient
let pooler: PgBouncer | undefined
beforeAll(async () => {
  client = await startClient({ listen: false })
  if (findPgBouncer()) pooler = await startPgBouncer(client.url)
})
afterAll(async () => {
  await client.close()
  await pooler?.stop()
})

const urlOfPooler = (test: TestContext): string => pooler?.url ?? test.skip(missingPgBouncer)

/** A client behind the pooler, and what it says about listening. */
function pooled(url: string, options: ConnectOptions): { readonly dueq: Dueq; readonly said: readonly string[] } {
  const said: string[] = []
  const dueq = client.another({
    url,
    prepare: false,
    ...options,
    onEvent: (event) => {
      if (event.type === 'listen.up') said.push(event.type)
      if (event.type === 'listen.silent' || event.type === 'listen.lost')
        said.push(`${event.type}: ${event.error.message}`)
    },
  })
  return { dueq, said }
}

it('promise 6: with a direct listenUrl, an enqueue through the pooler wakes at once', async (test) => {
  const { dueq, said } = pooled(urlOfPooler(test), { listenUrl: client.url })
  const { name } = await client.queue({ pollInterval: '1h' })
  const handled: unknown[] = []
  await using consumer = dueq.queue(name).consume(({ payload }) => void handled.push(payload))
  await expect.poll(() => said, { timeout: 5_000 }).toEqual(['listen.up'])
  await expect.poll(() => consumer.status.lastClaimAt).not.toBeNull()
  const looked = consumer.status.lastClaimAt
  await expect.poll(() => consumer.status.lastClaimAt, { timeout: 1_500 }).toBe(looked)
  await dueq.queue(name).enqueue('woken')
  await expect.poll(() => handled, { timeout: 5_000 }).toEqual(['woken'])
})

it('promise 6: without one, a single event names listenUrl, and messages come by polling', async (test) => {
  const { dueq, said } = pooled(urlOfPooler(test), { listenUrl: undefined })
  const { name } = await client.queue({ pollInterval: '200ms' })
  const handled: unknown[] = []
  await using _first = dueq.queue(name).consume(({ payload }) => void handled.push(payload))
  await dueq.queue(name).enqueue('before')
  await expect.poll(() => said, { timeout: 10_000 }).toEqual([expect.stringMatching(/^listen\.silent: .*`listenUrl`/)])
  await using _second = dueq.queue(name).consume(({ payload }) => void handled.push(payload))
  await dueq.queue(name).enqueue('after')
  await expect.poll(() => handled, { timeout: 5_000 }).toEqual(['before', 'after'])
  expect(said).toHaveLength(1)
})

it('promise 6: a client that listens through a pooler far from its server does not hear itself by chance', async (test) => {
  urlOfPooler(test)
  await using proxy = await startProxy(client.url)
  await using far = await startPgBouncer(proxy.url)
  // A pooler passes on what arrives while it lends the session for a statement, and here it does so for long.
  proxy.slow(150)
  const { dueq, said } = pooled(far.url, { listenUrl: undefined })
  const { name } = await client.queue()
  const consumer = dueq.queue(name).consume(() => {})
  await expect.poll(() => said, { timeout: 15_000 }).toEqual([expect.stringMatching(/^listen\.silent/)])
  await consumer.stop()
  await dueq.close()
})

it('prepared statements left on: every call ends by its deadline, answered or with code timeout, and the client goes on', async (test) => {
  const dueq = client.anotherByUrl({ url: urlOfPooler(test), prepare: true, listen: false, timeout: '1s' })
  const { name } = await client.queue({ pollInterval: '200ms' })
  const enqueued: string[] = []
  const codes = new Set<string>()
  // A statement that was prepared on one connection of the pooler meets another one, and now and then hangs.
  for (let round = 0; round < 4; round++) {
    const calls = Array.from({ length: 8 }, (_, i) => [
      dueq
        .queue(name)
        .enqueue(i, { dedupKey: `${round} ${i}` })
        .then(({ id }) => void enqueued.push(id)),
      dueq.stats(),
    ])
    for (const code of await Promise.all(calls.flat().map(codeOf))) codes.add(code)
  }
  expect(['none', 'timeout']).toEqual(expect.arrayContaining([...codes]))
  const handled: string[] = []
  await using _consumer = dueq.queue(name).consume(({ id }) => void handled.push(id))
  await expect.poll(() => handled, { timeout: 15_000 }).toEqual(expect.arrayContaining(enqueued))
})

it('promise 4: own writes and the ack commit together through the pooler', async (test) => {
  const { dueq } = pooled(urlOfPooler(test), { listen: false })
  const { name } = await client.queue()
  const sql = postgres(urlOfPooler(test), { max: 2, prepare: false, onnotice: () => {} })
  await sql.begin((tx) => dueq.in(tx).queue(name).enqueue('in'))
  const [message] = await dueq.queue(name).dequeue()
  await sql.begin((tx) => message!.in(tx).ack())
  await sql.end()
  expect([message!.payload, await client.dueq.queue(name).stats()]).toMatchObject(['in', { ready: 0, leased: 0 }])
})

for (const [what, change, code] of [
  ['password', { password: 'wrong' }, 'database.credentials'],
  ['user', { username: 'nobody_here' }, 'database.credentials'],
  ['database', { pathname: '/not_here' }, 'database.not_found'],
] as const) {
  it(`a wrong ${what} is a permanent error behind the pooler too`, async (test) => {
    const url = Object.assign(new URL(urlOfPooler(test)), { ...change }).href
    const { dueq } = pooled(url, { listen: false, timeout: '5s' })
    expect(await codeOf(dueq.check())).toBe(code)
    expect(await codeOf(dueq.queue('q').consume(() => {}).stopped)).toBe(code)
  })
}
