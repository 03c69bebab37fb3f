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
})

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
