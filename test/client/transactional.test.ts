import pg from 'pg'
import { afterAll, beforeAll, describe, expect, inject, it } from 'vitest'
import type { Message } from '../../src/index.js'
import type { QueueHandle } from '../../src/queue.js'
import { codeOf, codeThrown, startClient, type TestClient } from './client.js'
import { type Transaction, transactions } from './transactions.js'

let test: TestClient
let all: readonly Transaction[]
let queue: QueueHandle<unknown, unknown>
beforeAll(async () => {
  test = await startClient()
  all = transactions(test.sql, test.url)
  await test.sql`create table ${test.sql(test.schema)}.paid (id text)`
})
afterAll(() => test.close())

const names = transactions(undefined as never, inject('databaseUrl')).map(({ name }) => name)
const paidCount = async (id: string): Promise<number> =>
  (await test.sql`select id from ${test.sql(test.schema)}.paid where id = ${id}`).length
const claimed = async (): Promise<Message> => {
  queue = await test.queue({ lease: '1m' })
  await queue.enqueue({ to: 7 })
  const [message] = await queue.dequeue()
  return message!
}

describe.each(names)('in a transaction of %s', (name) => {
  const transaction: Transaction['run'] = (work) => all.find((one) => one.name === name)!.run(work)
  const insert = (id: string): string => `insert into ${test.schema}.paid (id) values ('${id}')`

  it('promise 4: an enqueue is seen when the transaction commits, not before', async () => {
    queue = await test.queue()
    const id = await transaction(async (tx) => {
      const enqueued = await test.dueq.in(tx).queue(queue.name).enqueue({ to: 7 }, { priority: 3 })
      const many = await test.dueq
        .in(tx)
        .queue(queue.name)
        .enqueueMany([{ payload: 2 }, { payload: 3 }])
      expect(many).toHaveLength(2)
      expect(await queue.stats()).toMatchObject({ ready: 0 })
      return enqueued.id
    })
    const messages = await queue.dequeue({ max: 10 })
    expect(messages).toHaveLength(3)
    expect(messages[2]!.id).toBe(id)
  })

  it('promise 4: an enqueue is gone when the transaction rolls back', async () => {
    queue = await test.queue()
    const work = transaction(async (tx) => {
      await test.dueq.in(tx).queue(queue.name).enqueue({ to: 7 })
      throw new Error('rolled back')
    })
    await expect(work).rejects.toThrow('rolled back')
    expect(await queue.stats()).toMatchObject({ ready: 0 })
  })

  it('promise 4: own writes and the ack commit together', async () => {
    const message = await claimed()
    await transaction(async (tx, write) => {
      await write(insert(message.id))
      await message.in(tx).ack()
      expect(await queue.stats()).toMatchObject({ leased: 1 })
    })
    expect(await paidCount(message.id)).toBe(1)
    expect(await queue.stats()).toMatchObject({ leased: 0, dead: 0 })
    expect(await codeOf(message.ack())).toBe('message.settled')
  })

  it('promise 4: own writes and the ack roll back together, and the message comes again', async () => {
    const message = await claimed()
    const work = transaction(async (tx, write) => {
      await write(insert(message.id))
      await message.in(tx).ack()
      throw new Error('rolled back')
    })
    await expect(work).rejects.toThrow('rolled back')
    expect(await paidCount(message.id)).toBe(0)
    await test.travel('1 minute')
    expect((await queue.dequeue())[0]).toMatchObject({ id: message.id, attempt: 2 })
  })

  it('promise 4: a transaction that was rolled back may be run again, with its ack, or the message nacked', async () => {
    const [again, nacked] = [await claimed(), await claimed()]
    for (const message of [again, nacked]) {
      const work = transaction(async (tx) => {
        await message.in(tx).ack()
        throw new Error('rolled back')
      })
      await expect(work).rejects.toThrow('rolled back')
    }
    await transaction(async (tx, write) => {
      await write(insert(again.id))
      await again.in(tx).ack()
    })
    expect(await paidCount(again.id)).toBe(1)
    expect(await codeOf(transaction((tx) => again.in(tx).ack()))).toBe('message.settled')
    expect(await nacked.nack('failed')).toBe('retry')
  })

  it('promise 3: in a transaction a lost lease throws, which rolls the own writes back', async () => {
    const message = await claimed()
    await test.travel('1 minute')
    const [again] = await queue.dequeue()
    const work = transaction(async (tx, write) => {
      await write(insert(message.id))
      await message.in(tx).ack()
    })
    await expect(work).rejects.toMatchObject({ name: 'LeaseLostError', code: 'lease.lost' })
    expect(await paidCount(message.id)).toBe(0)
    await again!.ack()
  })

  it('nack, release, dead-letter, cancel and reschedule go with the transaction too', async () => {
    const settles: readonly ((message: Message, tx: Parameters<Message['in']>[0]) => Promise<unknown>)[] = [
      (message, tx) => message.in(tx).nack('failed', { delay: '1h' }),
      (message, tx) => message.in(tx).release({ delay: '1h' }),
      (message, tx) => message.in(tx).deadLetter('unpayable'),
    ]
    for (const settle of settles) {
      const message = await claimed()
      await transaction((tx) => settle(message, tx))
      expect(await queue.stats()).toMatchObject({ leased: 0 })
    }
    const [a, b] = await queue.enqueueMany([{ payload: 1 }, { payload: 2 }])
    await transaction(async (tx) => {
      await test.dueq.in(tx).cancel(a!.id)
      await test.dueq.in(tx).reschedule(b!.id, { delay: '1h' })
    })
    expect(await queue.stats()).toMatchObject({ ready: 0, delayed: 1 })
  })

  it('an aborted transaction is told as such by every verb', async () => {
    const message = await claimed()
    const codes: string[] = []
    await transaction(async (tx, write) => {
      await expect(write('select 1 / 0')).rejects.toThrow()
      codes.push(await codeOf(message.in(tx).ack()))
      codes.push(await codeOf(test.dueq.in(tx).queue(queue.name).enqueue(1)))
      throw new Error('rolled back')
    }).catch(() => {})
    expect(codes).toEqual(['transaction.aborted', 'transaction.aborted'])
    await message.ack()
  })
})

it('promise 4: a whole pool is no transaction, and is refused before anything is sent', async () => {
  const message = await claimed()
  const pool = new pg.Pool({ connectionString: test.url })
  for (const whole of [test.sql, pool]) {
    expect(codeThrown(() => test.dueq.in(whole))).toBe('connection.invalid')
    expect(codeThrown(() => message.in(whole))).toBe('connection.invalid')
  }
  expect(await queue.stats()).toMatchObject({ ready: 0, leased: 1 })
  await pool.end()
})
