// postgres.js 3.4.9: the callback of `sql.begin` outlives its connection, and its next statement goes wherever that connection
// is by then. Where a naive test fails, the driver is cured: then `whileOwned` in src/driver.ts, which costs a round trip
// for each statement in a transaction, can go as soon as the cured version is the oldest one supported.
import { setTimeout as delay } from 'node:timers/promises'
import postgres from 'postgres'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import type { Message } from '../../src/index.js'
import { codeOf, startClient, type TestClient } from '../client/client.js'
import { blocked, closeSessions, openSession } from '../support/sessions.js'

let client: TestClient
let sql: postgres.Sql
beforeAll(async () => {
  client = await startClient()
  sql = postgres(client.url, { max: 1, onnotice: () => {} })
  await sql`create table ${sql(client.schema)}.paid (message bigint)`
})
afterAll(async () => {
  await closeSessions()
  await sql.end({ timeout: 1 })
  await client.close()
})

type Ack = (message: Message, tx: postgres.TransactionSql) => Promise<unknown>
const naive: Ack = ({ id, attempt }, tx) => tx.unsafe(`select ${client.schema}.ack(${id}, ${attempt})`)
const dueq: Ack = (message, tx) => message.in(tx).ack()

/** Whom the connection serves when the lost transaction goes on. Gives how that ends. */
type Elsewhere = () => Promise<() => Promise<unknown>>
const noTransaction: Elsewhere = async () => {
  await expect.poll(() => codeOf(sql`select 1`)).toBe('none')
  return async () => {}
}
const anotherTransaction: Elsewhere = async () => {
  const end = await noTransaction()
  let commit = end as () => void
  const open = new Promise<void>((resolve) => {
    commit = resolve
  })
  const other = await new Promise<{ readonly ended: Promise<unknown> }>((resolve) => {
    const ended: Promise<unknown> = sql.begin(async (tx) => {
      await tx`select 1`
      resolve({ ended })
      await open
    })
  })
  return async () => {
    commit()
    await other.ended
  }
}

const lose = async (tx: postgres.ISql): Promise<void> => {
  const [row] = await tx`select pg_backend_pid() as pid`
  await client.sql`select pg_terminate_backend(${row!['pid']})`
}

/** A handler writes, loses its connection, and acks. Gives what it was told, and what is left of the write and the message. */
async function handle(ack: Ack, elsewhere: Elsewhere) {
  const queue = await client.queue({ lease: '1m' })
  const { id } = await queue.enqueue({})
  const [message] = await queue.dequeue()
  let isAcked = false
  let callback: Promise<unknown> = Promise.resolve()
  const code = await codeOf(
    sql.begin((tx) => {
      callback = (async () => {
        await tx`insert into ${tx(client.schema)}.paid values (${id})`
        await lose(tx)
        const end = await elsewhere()
        await Promise.race([ack(message!, tx).then(() => (isAcked = true)), delay(300)])
        await end()
      })()
      // Never ends: the driver would send its commit next, which is a hazard of its own.
      return new Promise(() => {})
    }),
  )
  await callback
  const paid = await client.sql`select from ${client.sql(client.schema)}.paid where message = ${id}`
  const kept = await client.sql`select from ${client.sql(client.schema)}.messages where id = ${id}`
  return { code, isAcked, writes: paid.length, messages: kept.length }
}

describe.each([
  ['outside of any transaction', noTransaction],
  ['inside another transaction', anotherTransaction],
])('a lost transaction whose connection is back, %s', (_, elsewhere) => {
  it('naive: the ack is committed without the write, and the message is gone', async () => {
    expect(await handle(naive, elsewhere)).toEqual({ code: 'CONNECTION_CLOSED', isAcked: true, writes: 0, messages: 0 })
  })

  it('promise 4: the ack is not sent, the callback ends there, and the message is delivered again', async () => {
    expect(await handle(dueq, elsewhere)).toEqual({ code: 'CONNECTION_CLOSED', isAcked: false, writes: 0, messages: 1 })
  })
})

it('promise 4: an ack in a lost transaction whose connection is not back ends nothing but that: not the process, not the pool', async () => {
  const queue = await client.queue({ lease: '1m' })
  await queue.enqueue({})
  const [message] = await queue.dequeue()
  const own = postgres(client.url, { max: 1, onnotice: () => {} })
  let callback: Promise<unknown> = Promise.resolve()
  const work = own.begin((tx) => {
    callback = lose(tx).then(async () => {
      await expect.poll(() => isLost).toBe(true)
      await Promise.race([message!.in(tx).ack(), delay(300)]) // a write to no socket throws by then
    })
    return new Promise(() => {})
  })
  let isLost = false
  expect(await codeOf(work)).toBe('CONNECTION_CLOSED')
  isLost = true
  await callback
  expect(await codeOf(Promise.race([own`select 1`, delay(5_000).then(() => Promise.reject({ code: 'hangs' }))]))).toBe(
    'none',
  )
  expect(await queue.stats()).toMatchObject({ leased: 1 })
  await own.end({ timeout: 0 })
})

it('a connection lost under an ack ends the transaction, and not the process', async () => {
  const queue = await client.queue({ lease: '1m' })
  const { id } = await queue.enqueue({})
  const [message] = await queue.dequeue()
  await using holder = await openSession(client.url)
  await holder.begin()
  await holder.query(`select from ${client.schema}.messages where id = ${id} for update`)
  const work = sql.begin(async (tx) => {
    const [row] = await tx`select pg_backend_pid() as pid`
    const acking = message!.in(tx).ack()
    await blocked(row!['pid'])
    await client.sql`select pg_terminate_backend(${row!['pid']})`
    await acking
  })
  expect(await codeOf(work)).toBe('CONNECTION_CLOSED')
  await holder.rollback()
  await expect.poll(() => codeOf(sql`select 1`)).toBe('none')
  await message!.ack()
})

it('promise 4: an enqueue in a lost transaction is not sent either', async () => {
  const { name, stats } = await client.queue()
  let callback: Promise<unknown> = Promise.resolve()
  const work = sql.begin((tx) => {
    callback = (async () => {
      await lose(tx)
      await noTransaction()
      await Promise.race([client.dueq.in(tx).queue(name).enqueue({}), delay(300)])
    })()
    return new Promise(() => {})
  })
  expect(await codeOf(work)).toBe('CONNECTION_CLOSED')
  await callback
  expect(await stats()).toMatchObject({ ready: 0 })
})

it.each([
  ['back', (own: postgres.Sql) => expect.poll(() => codeOf(own`select 1`)).toBe('none')],
  ['not back', () => delay(200)],
] as const)(
  'promise 4: a reserved connection that was lost, and is %s, says so, because nothing else does',
  async (_, then) => {
    const queue = await client.queue({ lease: '1m' })
    const { id } = await queue.enqueue({})
    const [message] = await queue.dequeue()
    const own = postgres(client.url, { max: 1, onnotice: () => {} })
    const reserved = await own.reserve()
    await reserved`begin`
    await lose(reserved)
    await then(own)
    expect(await codeOf(message!.in(reserved).ack())).toBe('database.unreachable')
    await expect.poll(() => codeOf(own`select 1`)).toBe('none')
    expect(await client.sql`select from ${client.sql(client.schema)}.messages where id = ${id}`).toHaveLength(1)
    await own.end({ timeout: 0 })
  },
)

it('a handler whose transaction is lost is a failure like any other: the message comes again, and is acked once', async () => {
  const queue = await client.queue({ lease: '1m', backoff: { base: '20ms', max: '20ms' } })
  await using _consumer = queue.consume((message) =>
    sql.begin(async (tx) => {
      await tx`insert into ${tx(client.schema)}.paid values (${message.id})`
      if (message.attempt === 1) {
        await lose(tx)
        await noTransaction()
      }
      await message.in(tx).ack()
    }),
  )
  const { id } = await queue.enqueue({})
  await expect
    .poll(() => client.sql`select from ${client.sql(client.schema)}.paid where message = ${id}`, { timeout: 5_000 })
    .toHaveLength(1)
  await expect.poll(() => queue.stats()).toMatchObject({ ready: 0, delayed: 0, leased: 0, dead: 0 })
  expect(client.events.filter((event) => event.type === 'message.failed' && event.id === id)).toHaveLength(1)
})
