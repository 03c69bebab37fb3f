// The client end to end as a login that is a member of one role: producers produce, consumers consume, and whoever lacks a right
// is told the role to ask for.
import { afterAll, beforeAll, expect, it } from 'vitest'
import { type Dueq, DueqError, defineQueue } from '../../src/index.js'
import { dueqOn } from '../cli/dueq.js'
import { startClient, type TestClient } from '../client/client.js'
import { type Login, type Roles, startRoles } from './roles.js'

const mail = defineQueue<{ n: number }>('mail', { lease: '2s', maxAttempts: 3, backoff: { base: '1s', max: '1s' } })
let test: TestClient
let roles: Roles
beforeAll(async () => {
  test = await startClient()
  roles = await startRoles(test)
  await test.dueq.ensure([mail])
})
afterAll(async () => {
  await roles?.[Symbol.asyncDispose]()
  await test.close()
})

const as = (login: Login, onEvent = () => {}): Dueq =>
  test.anotherByUrl({ url: roles.url(login), listenUrl: roles.url(login), onEvent })

it('a producer enqueues, one by one, many, in chunks, in transactions, and finds the queues it needs', async () => {
  const dueq = as('producer')
  await dueq.ensure([mail])
  const queue = dueq.queue(mail)
  const first = await queue.enqueue({ n: 1 }, { dedupKey: 'k', headers: { a: 1 }, delay: '1h' })
  expect(await queue.enqueue({ n: 1 }, { dedupKey: 'k' })).toEqual({ id: first.id, created: false })
  await Promise.all(Array.from({ length: 100 }, (_, n) => queue.enqueue({ n })))
  expect(await queue.enqueueMany([{ payload: { n: 2 } }, { payload: { n: 3 }, priority: 5 }])).toHaveLength(2)
  async function* stream() {
    for (let n = 0; n < 5; n++) yield { payload: { n } }
  }
  expect(await queue.enqueueMany(stream())).toHaveLength(5)
  const session = await roles.session('producer')
  await session.query('begin isolation level repeatable read')
  await dueq.in(session).queue(mail).enqueue({ n: 4 }, { priority: -7 })
  await session.query('commit')
  expect((await dueq.check()).schemaVersion).toBeGreaterThan(0)
  expect(await test.messageCount()).toBe(109)
  await test.dueq.queue(mail).purge()
})

it('a producer does nothing else, and is told what to ask for', async () => {
  const dueq = as('producer')
  const queue = dueq.queue(mail)
  const { id } = await queue.enqueue({ n: 1 })
  await denied(dueq.ensure([defineQueue('mail', { lease: '9s' })]), 'operator')
  await denied(dueq.ensure([defineQueue('other')]), 'operator')
  await denied(queue.dequeue(), 'consumer')
  await denied(queue.consume(async () => {}).stopped, 'consumer')
  await denied(queue.stats(), 'viewer')
  await denied(dueq.cancel(id), 'operator')
  await denied(queue.purge(), 'operator')
  await denied(queue.redrive(), 'operator')
  await denied(queue.pause(), 'operator')
  await denied(queue.drop(), 'operator')
  const session = await roles.session('producer')
  await denied(dueq.in(session).cancel(id), 'operator')
  const doctor = await dueq.doctor()
  expect(doctor.find(({ check }) => check === 'database')?.detail).toContain(`${test.schema}_viewer`)
  await test.dueq.queue(mail).purge()
})

it('a consumer hears of messages, keeps leases, settles in every way, and stops', async () => {
  const dueq = as('consumer')
  const queue = dueq.queue(mail)
  const seen: number[] = []
  const consumer = queue.consume(
    async ({ payload: { n } }) => {
      seen.push(n)
    },
    { concurrency: 4 },
  )
  await expect.poll(async () => (await dueq.check()).isListening, { timeout: 20_000 }).toBe(true)
  await test.dueq.queue(mail).enqueueMany([1, 2, 3].map((n) => ({ payload: { n } })))
  await expect.poll(() => seen.length, { timeout: 20_000 }).toBe(3)
  await consumer.stop()

  await test.dueq.queue(mail).enqueueMany([10, 11, 12, 13, 14].map((n) => ({ payload: { n } })))
  const [acked, nacked, released, dead, kept] = await queue.dequeue({ max: 5, wait: '5s' })
  await kept!.extend('1h')
  await acked!.ack()
  expect(await nacked!.nack(new Error('e'))).toBe('retry')
  await released!.release({ delay: '1h' })
  await dead!.deadLetter('unwanted')
  const session = await roles.session('consumer')
  await session.query('begin')
  await kept!.in(session).ack()
  await session.query('commit')
  expect((await test.dueq.queue(mail).stats()).dead).toBe(1)

  await denied(queue.enqueue({ n: 1 }), 'producer')
  await denied(queue.stats(), 'viewer')
  await denied(dueq.ensure([defineQueue('other')]), 'operator')
  await test.dueq.queue(mail).purge()
})

it('a viewer sees numbers and the doctor, on the command line too, and no payload', async () => {
  await test.dueq.queue(mail).enqueue({ n: 424242 })
  const dueq = as('viewer')
  expect(await dueq.queue(mail).stats()).toMatchObject({ ready: 1 })
  expect((await dueq.doctor()).find(({ check }) => check === 'database')?.ok).toBe(true)
  await denied(dueq.queue(mail).enqueue({ n: 1 }), 'producer')
  const cli = dueqOn({ url: roles.url('viewer'), schema: test.schema })
  const stats = await cli('stats', '--json')
  expect(stats.code).toBe(0)
  expect(stats.stdout).not.toContain('424242')
  expect((await cli('stats')).code).toBe(0)
  const peek = await cli('peek', 'mail', '--json')
  expect(peek.code).toBe(1)
  expect(peek.json()).toMatchObject({ error: { code: 'database.permission' } })
  expect(peek.stdout).toContain(`${test.schema}_operator`)
})

it('an operator does on the command line what operating takes', async () => {
  const cli = dueqOn({ url: roles.url('operator'), schema: test.schema })
  await test.dueq.queue(mail).purge()
  const { id } = await test.dueq.queue(mail).enqueue({ n: 7 })
  await test.dueq.queue(mail).enqueue({ n: 8 })
  for (const args of [
    ['queue', 'create', 'other', '--lease', '10s'],
    ['queue', 'list'],
    ['queue', 'pause', 'other'],
    ['queue', 'resume', 'other'],
    ['queue', 'drop', 'other', '--yes'],
    ['peek', 'mail'],
    ['reschedule', id, '--delay', '1h'],
    ['cancel', id],
    ['dead', 'list'],
    ['dead', 'redrive', 'mail'],
    ['purge', 'mail', '--yes'],
    ['dead', 'purge', 'mail', '--yes'],
    ['stats'],
  ]) {
    const { code, stderr } = await cli(...args)
    expect(code, `${args.join(' ')}: ${stderr}`).toBe(0)
  }
  const { code, stderr } = await cli('enqueue', 'mail', '1')
  expect([code, stderr]).toEqual([1, expect.stringContaining(`${test.schema}_producer`)])
})

it('who has no role at all is told of all of them', async () => {
  const error = await as('nobody')
    .check()
    .catch((thrown: unknown) => thrown)
  expect(error).toBeInstanceOf(DueqError)
  expect((error as DueqError).code).toBe('database.permission')
  expect((error as DueqError).details['roles']).toEqual(['producer', 'consumer', 'operator', 'viewer'])
})

// --- internal ---

/** Rejects for want of a right, and names the role that has it. */
async function denied(promise: Promise<unknown>, role: string): Promise<void> {
  const error = await promise.then(
    () => undefined,
    (thrown: unknown) => thrown,
  )
  expect(error).toBeInstanceOf(DueqError)
  const { code, message, details } = error as DueqError
  expect(code).toBe('database.permission')
  expect(details['roles']).toContain(role)
  expect(message).toContain(`\`${test.schema}_${role}\``)
  expect(message).toContain(`=${role}`)
}
