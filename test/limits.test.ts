// What is promised at the limits: exactly the limit is accepted, one more is refused by its code, and large amounts do not
// stop the process. The figures are in docs/scaling.md, measured by scripts/limits.mjs.
import postgres from 'postgres'
import { afterAll, beforeAll, expect, it } from 'vitest'
import { defineQueue, type EnqueueItem } from '../src/index.js'
import { codeOf, startClient, type TestClient } from './client/client.js'

let test: TestClient
beforeAll(async () => {
  test = await startClient()
})
afterAll(() => test.close())

/** A client whose statements are seen on their way: how many turns the event loop had before each, and their parameters. */
async function watched() {
  const sql = postgres(test.url, { max: 2, onnotice: () => {} })
  const sent: { readonly text: string; readonly chars: number; readonly turns: number }[] = []
  let turns = 0
  const count = setInterval(() => turns++, 1)
  const query = (text: string, params: (string | null)[]) => {
    sent.push({ text, chars: Math.max(...params.map((param) => param?.length ?? 0), 0), turns })
    return sql.unsafe(text, params).values()
  }
  return {
    dueq: test.another({ query }),
    turns: () => turns,
    sent: () => sent.filter(({ text }) => text.includes('enqueue_many')),
    async [Symbol.asyncDispose]() {
      clearInterval(count)
      await sql.end()
    },
  }
}

it('100,000 messages in one array are one statement, and the event loop has its turns while they are prepared', async () => {
  await using client = await watched()
  const { name } = await test.queue()
  const items = Array.from({ length: 100_000 }, (_, payload): EnqueueItem<number> => ({ payload }))
  await client.dueq.check()
  const before = client.turns()
  const enqueued = await client.dueq.queue<number>(name).enqueueMany(items)
  expect(enqueued).toHaveLength(100_000)
  expect(new Set(enqueued.map(({ id }) => id)).size).toBe(100_000)
  expect(client.sent()).toHaveLength(1)
  expect(client.sent()[0]!.turns - before).toBeGreaterThan(2)
}, 60_000)

it('an async iterable of large payloads goes in chunks that stay small', async () => {
  await using client = await watched()
  const { name } = await test.queue()
  const large = 'x'.repeat(1_000_000)
  async function* many() {
    for (let i = 0; i < 20; i++) yield { payload: large }
  }
  expect(await client.dueq.queue<string>(name).enqueueMany(many())).toHaveLength(20)
  expect(client.sent()).toHaveLength(5)
  expect(Math.max(...client.sent().map(({ chars }) => chars))).toBeLessThan(5_000_000)
})

it('an array of more JSON than one statement takes is refused before anything is sent', async () => {
  await using client = await watched()
  const { name } = await test.queue()
  const item = { payload: 'x'.repeat(1_000_000) }
  expect(await codeOf(client.dueq.queue<string>(name).enqueueMany(new Array(135).fill(item)))).toBe('payload.too_large')
  expect(client.sent()).toHaveLength(0)
})

it('200 consumers of as many queues share one client', async () => {
  const dueq = test.another()
  const queues = Array.from({ length: 200 }, (_, i) => defineQueue<number>(`one-of-200-${i}`))
  await dueq.ensure(queues)
  const seen = new Set<string>()
  let all = () => {}
  const done = new Promise<void>((resolve) => {
    all = resolve
  })
  for (const queue of queues)
    dueq.queue(queue).consume(({ queue: name, payload }) => {
      if (seen.add(`${name} ${payload}`).size === 200) all()
    })
  await Promise.all(queues.map((queue, i) => dueq.queue(queue).enqueue(i)))
  await done
  expect([...seen].sort()).toEqual(queues.map(({ name }, i) => `${name} ${i}`).sort())
  expect(await dueq.close()).toMatchObject({ stillRunning: 0 })
})

it('names and keys are taken at exactly their limit, and refused one above it', async () => {
  const queue = await test.queue<number>()
  const named = defineQueue<number>('q'.repeat(120))
  expect(() => defineQueue('q'.repeat(121))).toThrow(expect.objectContaining({ code: 'queue.invalid_name' }))
  await test.dueq.ensure([named])
  const arrived = new Promise((resolve) => test.dueq.queue(named).consume(({ payload }) => resolve(payload)))
  await test.dueq.queue(named).enqueue(7)
  expect(await arrived).toBe(7)

  const key = 'é'.repeat(256) // 512 bytes
  expect(await queue.enqueue(1, { dedupKey: key })).toMatchObject({ created: true })
  expect(await queue.enqueue(1, { dedupKey: key })).toMatchObject({ created: false })
  expect(await codeOf(queue.enqueue(1, { dedupKey: `${key}x` }))).toBe('option.invalid')
  expect(await codeOf(queue.enqueueMany([{ payload: 1, dedupKey: `${key}x` }]))).toBe('option.invalid')
})

it('payloads of exactly 1 MB of JSON come back as they were, and one byte more is refused', async () => {
  const queue = await test.queue()
  const limit = 1_048_576
  const ascii = 'x'.repeat(limit - 2)
  const wide = '😀'.repeat((limit - 4) / 4)
  const exact = [ascii, `${wide}xx`, '"'.repeat((limit - 2) / 2), `${'\u0001'.repeat(174_762)}xx`]
  for (const payload of exact) {
    expect(Buffer.byteLength(JSON.stringify(payload))).toBe(limit)
    await queue.enqueue(payload)
    const [message] = await queue.dequeue()
    expect(message!.payload === payload).toBe(true)
    await message!.ack()
    expect(await codeOf(queue.enqueue(`${payload}x`))).toBe('payload.too_large')
  }
})

it('deep nesting is stored and given back, or refused as no JSON', async () => {
  const queue = await test.queue()
  const nested = (depth: number): unknown[] => {
    let value: unknown[] = []
    for (let i = 1; i < depth; i++) value = [value]
    return value
  }
  await queue.enqueue(nested(1000))
  expect(JSON.stringify((await queue.dequeue())[0]!.payload)).toBe(JSON.stringify(nested(1000)))
  expect(await codeOf(queue.enqueue(nested(200_000)))).toBe('payload.not_json')
})

it('an error text of 1 MB is cut, and a reason has 1,000 characters at most', async () => {
  const queue = await test.queue<number>()
  await queue.enqueue(1)
  const [message] = await queue.dequeue()
  const error = 'e'.repeat(1_000_000)
  expect(await codeOf(message!.deadLetter('r'.repeat(1001), error))).toBe('option.invalid')
  await message!.deadLetter('r'.repeat(1000), error)
  const [dead] = await test.sql.unsafe(
    `select length(reason) as reason, length(last_error) as error from ${test.schema}.dead_messages where id = $1`,
    [message!.id],
  )
  expect(dead).toEqual({ reason: 1000, error: 4000 })
})

it('ids and attempts go to the ends of their types', async () => {
  const queue = await test.queue<number>()
  const sequence = `${test.schema}.messages_id_seq`
  const [{ last }] = (await test.sql.unsafe(`select last_value::text as last from ${sequence}`)) as unknown as [
    { last: string },
  ]
  await test.sql.unsafe(`select setval('${sequence}', 9223372036854775806)`)
  const { id } = await queue.enqueue(1)
  await test.sql.unsafe(`select setval('${sequence}', ${last})`)
  expect(id).toBe('9223372036854775807')
  await test.sql.unsafe(`update ${test.schema}.messages set attempt = 2147483646 where id = ${id}`)
  const [message] = await queue.dequeue()
  expect(message).toMatchObject({ id, attempt: 2_147_483_647 })
  await message!.extend()
  await message!.ack()
  expect(await queue.stats()).toMatchObject({ leased: 0, ready: 0 })
})
