/**
 * What a URL of several hosts does where some of them are no primary: from the start, or for a while.
 */
import postgres from 'postgres'
import { afterAll, expect, it } from 'vitest'
import { type ConnectOptions, connect, defineQueue } from '../../src/index.js'
import { migrate } from '../../src/migrate.js'
import { load, openPair, outcome, rejection } from './pair.js'

const nobody = 1
const opened = await openPair()
afterAll(() => opened?.[Symbol.asyncDispose]())
const pair = opened!
const test = it.skipIf(!opened)

/** A client with a consumer on a queue of its own, and what happens to them. */
async function consuming(options: ConnectOptions) {
  const events: string[] = []
  const handled: string[] = []
  const dueq = pair.client({ ...options, onEvent: ({ type }) => events.push(type) })
  const own = defineQueue<string>(`q${++queueCount}`, { lease: '3s', pollInterval: '200ms' })
  await dueq.ensure([own])
  const queue = dueq.queue(own)
  queue.consume(({ payload }) => void handled.push(payload))
  return { dueq, queue, events, handled }
}
let queueCount = 0

for (const [name, ports] of Object.entries({
  'a standby first': () => [pair.standby.port, pair.primary.port],
  'a host first that refuses': () => [nobody, pair.primary.port],
  'a standby between': () => [nobody, pair.standby.port, pair.primary.port],
}))
  test(`the primary is found whatever the other hosts are: ${name}`, async () => {
    const url = pair.urlOf(...ports())
    const { queue, events, handled } = await consuming({ url })
    await queue.enqueue(name)
    await expect.poll(() => handled).toContain(name)
    await expect.poll(() => events).toContain('listen.up')
    expect(events).not.toContain('consumer.error')
    expect(events).not.toContain('listen.lost')
  })

test('a migration finds the primary', async () => {
  const url = pair.urlOf(pair.standby.port, pair.primary.port)
  expect(await migrate({ url, schema: 'dueq' })).toMatchObject({ applied: [] })
})

test('where no host is a primary nothing is sent, and the error says what each of them is', async () => {
  const failing = (url: string) => rejection(pair.client({ url }).queue(load).enqueue(1))
  const standbys = await failing(pair.urlOf(pair.standby.port, pair.standby.port))
  expect(standbys).toMatchObject({ code: 'database.read_only', isOutcomeUnknown: false })
  const none = await failing(pair.urlOf(pair.standby.port, nobody))
  expect(none).toMatchObject({ code: 'database.unreachable', isOutcomeUnknown: false })
  expect(none.message).toMatch(/127\.0\.0\.1:\d+: a standby, which takes no writes; 127\.0\.0\.1:1: .*ECONNREFUSED/)
  expect(none.message).not.toContain(new URL(pair.primary.url).password)
  const strangers = await failing(pair.urlOf().replace('//postgres:', '//nobody:'))
  expect(strangers).toMatchObject({ code: 'database.credentials' })
})

test('over a postgres.js instance of the user dueq listens on the primary', async () => {
  const url = pair.urlOf(pair.standby.port, pair.primary.port)
  const sql = postgres(url, { max: 2, target_session_attrs: 'primary', onnotice: () => {} })
  const { dueq, queue, events, handled } = await consuming({ url: undefined, sql })
  await queue.enqueue('shared')
  await expect.poll(() => handled).toContain('shared')
  await expect.poll(() => events).toContain('listen.up')
  await dueq.close()
  await sql.end()
})

test('promise 2: all hosts down, then back: it goes on by itself, and meanwhile nothing has an unknown outcome', async () => {
  const { queue, events, handled } = await consuming({})
  await expect.poll(() => events).toContain('listen.up')
  await Promise.all([pair.primary.kill(), pair.standby.kill()])
  await expect.poll(async () => (await rejection(queue.enqueue('down'))).isOutcomeUnknown).toBe(false)
  expect(await rejection(queue.enqueue('down'))).toMatchObject({
    code: 'database.unreachable',
    isOutcomeUnknown: false,
  })
  await Promise.all([pair.primary.restart(), pair.standby.restart()])
  await expect.poll(() => outcome(queue.enqueue('back')), { timeout: 20_000 }).toBe('created')
  await expect.poll(() => handled, { timeout: 10_000 }).toContain('back')
}, 60_000)

it('a URL that asks for a server without writes is refused', () => {
  for (const target of ['standby', 'read-only', 'prefer-standby', 'whatever'])
    expect(() => connect(`postgres://u:secret@h1,h2/db?target_session_attrs=${target}`)).toThrow(
      expect.objectContaining({ code: 'connection.invalid', message: expect.not.stringContaining('secret') }),
    )
})
