import * as v from 'valibot'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { z } from 'zod'
import { defineQueue } from '../../src/index.js'
import { codeOf, startClient, type TestClient } from './client.js'

let test: TestClient
beforeAll(async () => {
  test = await startClient()
})
afterAll(() => test.close())

// The same contract twice: a text that becomes a Date, and a default.
const contracts = {
  zod: () =>
    defineQueue('with-zod', {
      payload: z.object({
        userId: z.number().int(),
        at: z.iso.datetime().transform((text) => new Date(text)),
        channel: z.string().default('mail'),
      }),
    }),
  valibot: () =>
    defineQueue('with-valibot', {
      payload: v.object({
        userId: v.pipe(v.number(), v.integer()),
        at: v.pipe(
          v.string(),
          v.isoTimestamp(),
          v.transform((text) => new Date(text)),
        ),
        channel: v.optional(v.string(), 'mail'),
      }),
    }),
}

describe.each(['zod', 'valibot'] as const)('with %s', (library) => {
  const contract = contracts[library]()
  const input = { userId: 7, at: '2031-01-31T09:00:00.000Z' }
  beforeAll(() => test.dueq.ensure([contract]))

  const stored = async (id: string): Promise<unknown> => {
    const [row] = await test.sql`select payload from ${test.sql(test.schema)}.messages where id = ${id}`
    return row?.['payload']
  }

  it('what the producer passes is stored, what the schema makes of it is delivered', async () => {
    const { id } = await test.dueq.queue(contract).enqueue(input)
    expect(await stored(id)).toEqual(input)
    const [message] = await test.dueq.queue(contract).dequeue()
    expect(message!.payload).toEqual({ userId: 7, at: new Date(input.at), channel: 'mail' })
    await message!.ack()
  })

  it('a consumer gets the output too', async () => {
    await test.dueq.queue(contract).enqueue({ ...input, channel: 'letter' })
    const payload = await new Promise((resolve) => {
      const consumer = test.dueq.queue(contract).consume(async (message) => {
        void consumer.stop()
        resolve(message.payload)
      })
    })
    expect(payload).toEqual({ userId: 7, at: new Date(input.at), channel: 'letter' })
  })

  it('a payload that does not fit is refused before anything is sent, with its issues', async () => {
    const bad = { userId: 'seven', at: 'tomorrow' } as unknown as typeof input
    const queue = test.dueq.queue(contract)
    await expect(queue.enqueue(bad)).rejects.toMatchObject({
      code: 'payload.rejected',
      message: expect.stringMatching(new RegExp(`queue "${contract.name}".*userId: .*at: `, 's')),
      details: { queue: contract.name, issues: [{ message: expect.any(String) }, { message: expect.any(String) }] },
    })
    expect(await codeOf(queue.enqueueMany([{ payload: input }, { payload: bad }]))).toBe('payload.rejected')
    const inTransaction = test.sql.begin((tx) => test.dueq.in(tx).queue(contract).enqueue(bad))
    expect(await codeOf(inTransaction)).toBe('payload.rejected')
    expect(await queue.stats()).toMatchObject({ ready: 0 })
  })

  it('promise 2: a stored payload that no longer parses goes to the dead letters with its issues, and its neighbours go on', async () => {
    const old = test.dueq.queue(contract.name)
    const { id } = await old.enqueue({ user: 'of an older version' })
    await old.enqueue(input)
    const messages = await test.dueq.queue(contract).dequeue({ max: 5 })
    expect(messages.map(({ payload }) => payload.userId)).toEqual([7])
    await messages[0]!.ack()
    const [dead] = await test.sql`
      select reason, last_error, payload from ${test.sql(test.schema)}.dead_letters where id = ${id}`
    expect(dead).toMatchObject({
      reason: 'payload.rejected',
      last_error: expect.stringMatching(/userId: .*; at: /),
      payload: { user: 'of an older version' },
    })
    expect(test.events).toContainEqual(
      expect.objectContaining({ type: 'message.dead', id, attempt: 1, reason: 'payload.rejected' }),
    )
  })
})

it('an asynchronous schema is waited for, and one that throws refuses', async () => {
  const exists = z.string().refine(async (name) => name !== 'nobody', 'no such user')
  const asynchronous = defineQueue('asynchronous', { payload: exists })
  const throwing = defineQueue('throwing', {
    payload: z.string().transform((text) => {
      throw new Error(`cannot read ${text}`)
    }),
  })
  await test.dueq.ensure([asynchronous, throwing])
  await test.dueq.queue(asynchronous).enqueue('anna')
  expect(await test.dueq.queue(asynchronous).dequeue()).toMatchObject([{ payload: 'anna' }])
  await expect(test.dueq.queue(asynchronous).enqueue('nobody')).rejects.toThrow(/no such user/)
  await expect(test.dueq.queue(throwing).enqueue('x')).rejects.toThrow(/the schema threw: Error: cannot read x/)
})
