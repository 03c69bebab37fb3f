import { afterAll, beforeAll, expect, it } from 'vitest'
import type { Dueq } from '../../src/index.js'
import { codeOf, startClient, type TestClient } from '../client/client.js'
import { openSession } from '../support/sessions.js'

let client: TestClient
beforeAll(async () => {
  client = await startClient()
})
afterAll(() => client.close())

const empty = { ready: 0, leased: 0, lapsed: 0, delayed: 0, dead: 0 }
type Statement = { readonly isPoll: boolean; readonly isAckMany: boolean; readonly ids: string }
type Send = () => Promise<readonly unknown[]>

/** A client whose statements the test sees, and may keep from the database, or their answers from the client. */
function watched(deliver: (statement: Statement, send: Send) => Promise<readonly unknown[]> = (_, send) => send()): {
  readonly dueq: Dueq
  readonly statements: Statement[]
} {
  const statements: Statement[] = []
  const dueq = client.another({
    query: (text, params) => {
      const isPoll = /\bpoll\(/.test(text)
      const isAckMany = /\back_many\(/.test(text)
      const statement = { isPoll, isAckMany, ids: (isPoll ? params[8] : isAckMany ? params[0] : null) ?? '' }
      statements.push(statement)
      return deliver(statement, async () => client.sql.unsafe(text, params as never[], { prepare: true }).values())
    },
    listen: false,
  })
  return { dueq, statements }
}

/** As drivers say it of a statement that was sent and got no answer. */
const cut = (): Error => Object.assign(new Error('read ECONNRESET'), { code: 'ECONNRESET' })

it('what handlers have done while a consumer looks goes with its look, in no statement of its own', async () => {
  const queue = await client.queue()
  await queue.enqueueMany(Array.from({ length: 50 }, (_, n) => ({ payload: n })))
  const { dueq, statements } = watched()
  await using _consumer = dueq.queue(queue.name).consume(async () => {}, { concurrency: 1, prefetch: 0 })
  await expect.poll(() => queue.stats()).toMatchObject(empty)
  expect(statements.filter(({ isPoll, ids }) => isPoll && ids !== '').length).toBeGreaterThan(40)
  expect(statements.filter(({ isAckMany }) => isAckMany).length).toBeLessThan(10)
})

it('a lone ack is sent at once, by itself', async () => {
  const queue = await client.queue()
  await queue.enqueue({})
  const { dueq, statements } = watched()
  const [message] = await dueq.queue(queue.name).dequeue()
  await message!.ack()
  expect(statements.filter(({ ids }) => ids !== '')).toEqual([
    { isPoll: false, isAckMany: true, ids: `{${message!.id}}` },
  ])
})

it('an ack rides in the look at another queue, whatever comes of that look', async () => {
  const queue = await client.queue()
  const other = await client.queue()
  await queue.enqueueMany([{ payload: 1 }, { payload: 2 }])
  const { dueq, statements } = watched()
  const [first, second] = await dueq.queue(queue.name).dequeue({ max: 2 })
  await Promise.all([first!.ack(), dueq.queue(other.name).dequeue()])
  expect(statements.filter(({ ids }) => ids !== '')).toMatchObject([{ isPoll: true, ids: `{${first!.id}}` }])
  // A look that is refused takes nothing down with it: the ack goes again, by itself.
  const [, refusal] = await Promise.all([second!.ack(), codeOf(dueq.queue('nobody-made-this').dequeue())])
  expect(refusal).toBe('queue.unknown')
  expect(statements.filter(({ ids }) => ids === `{${second!.id}}`)).toMatchObject([
    { isPoll: true },
    { isAckMany: true },
  ])
  expect(await queue.stats()).toMatchObject(empty)
})

it('a row that a stranger holds delays neither the look nor the acks that ride along, and is acked when it is free', async () => {
  const queue = await client.queue()
  const other = await client.queue()
  await queue.enqueueMany([{ payload: 1 }, { payload: 2 }])
  const { dueq, statements } = watched()
  const [held, free] = await dueq.queue(queue.name).dequeue({ max: 2 })
  await using session = await openSession()
  await session.begin()
  await session.query(`select 1 from ${client.schema}.messages where id = $1 for update`, [held!.id])
  let isAcked = false
  const acking = held!.ack().then(() => (isAcked = true))
  await Promise.all([free!.ack(), dueq.queue(other.name).dequeue()])
  expect(statements.find(({ ids }) => ids !== '')).toMatchObject({ isPoll: true, ids: `{${held!.id},${free!.id}}` })
  expect(isAcked).toBe(false)
  await session.rollback()
  await acking
  expect(await queue.stats()).toMatchObject(empty)
})

it('a lease that was lost is told by the look that the ack rides in', async () => {
  const queue = await client.queue()
  const other = await client.queue()
  await queue.enqueue({})
  const { dueq } = watched()
  const [message] = await dueq.queue(queue.name).dequeue()
  await queue.purge({ includeLeased: true })
  const [code] = await Promise.all([codeOf(message!.ack()), dueq.queue(other.name).dequeue()])
  expect(code).toBe('lease.lost')
})

it('promise 2: looks that are cut, before or after they took effect, lose no message and settle none twice', async () => {
  const queue = await client.queue<number>({ lease: '1s', pollInterval: '100ms' })
  const count = 60
  await queue.enqueueMany(Array.from({ length: count }, (_, payload) => ({ payload })))
  let rideCount = 0
  let isCutting = true
  const { dueq } = watched(async ({ isPoll, ids }, send) => {
    if (!isPoll || ids === '' || !isCutting) return send()
    const fate = rideCount++ % 4
    if (fate === 1) throw cut()
    const rows = await send()
    if (fate === 3) throw cut()
    return rows
  })
  const handled = new Map<number, number>()
  await using _consumer = dueq.queue<number>(queue.name).consume(
    async ({ payload }) => {
      handled.set(payload, (handled.get(payload) ?? 0) + 1)
    },
    { concurrency: 2, prefetch: 0 },
  )
  await expect.poll(() => rideCount, { timeout: 10_000 }).toBeGreaterThan(12)
  isCutting = false
  await expect.poll(() => queue.stats(), { timeout: 10_000 }).toMatchObject(empty)
  expect(handled.size).toBe(count)
})

it('close() sends the acks that wait', async () => {
  const queue = await client.queue()
  await queue.enqueueMany([{ payload: 1 }, { payload: 2 }])
  const { dueq } = watched()
  const done: (() => void)[] = []
  dueq.queue(queue.name).consume(() => new Promise<void>((resolve) => done.push(resolve)))
  await expect.poll(() => done.length).toBe(2)
  for (const end of done) end()
  await dueq.close()
  expect(await queue.stats()).toMatchObject(empty)
})
