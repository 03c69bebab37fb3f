// Any role of the database may notify on the channel of dueq. Whatever it sends wakes at most: no consumer ends, no error, no
// event, and a flood makes one look after the other, never one for each notification.
import pg from 'pg'
import { afterAll, beforeAll, expect, it } from 'vitest'
import { startClient, type TestClient } from '../client/client.js'
import { type Roles, startRoles } from './roles.js'

let test: TestClient
let roles: Roles
beforeAll(async () => {
  test = await startClient()
  roles = await startRoles(test)
})
afterAll(async () => {
  await roles?.[Symbol.asyncDispose]()
  await test.close()
})

const hostile: readonly string[] = [
  '',
  ' ',
  'QUEUE',
  'QUEUE ',
  ' QUEUE 1',
  'QUEUE NaN',
  'QUEUE Infinity',
  'QUEUE -Infinity',
  'QUEUE 1e308',
  'QUEUE -1',
  'QUEUE 0',
  'QUEUE 0x7fffffff',
  'QUEUE 99999999999999999999999999',
  'QUEUE 1970-01-01',
  `QUEUE '); drop schema public; --`,
  'QUEUE {"a":1}',
  'QUEUE \u202e\u001b[2J',
  'QUEUE 1 2 3',
  'QUEUE\n1',
  '__proto__ 1',
  'constructor 1',
  'toString 1',
  '😀'.repeat(1_900),
  'x'.repeat(7_900),
  `QUEUE ${'9'.repeat(7_000)}`,
]

it('nonsense of every kind wakes at most: the consumer goes on, and tells nobody of it', async () => {
  const { queue, consumer, seen, events } = await listening()
  const session = await roles.session('nobody')
  for (const payload of hostile)
    await session.query('select pg_notify($1, $2)', [test.schema, payload.replace('QUEUE', queue.name)])
  await queue.enqueue(1)
  await expect.poll(() => seen, { timeout: 20_000 }).toEqual([1])
  expect(consumer.status.state).toBe('running')
  expect(events.filter((type) => /lost|silent|error|failed|stopped/.test(type))).toEqual([])
  await consumer.stop()
})

it('a flood of 20,000 notifications makes one look at a time, and the consumer still delivers', async () => {
  const lookMs = 100
  const { queue, consumer, seen, looks } = await listening(lookMs)
  const session = await roles.session('nobody')
  const before = looks.count
  const start = performance.now()
  await session.query(
    `select pg_notify($1, $2 || ' ' || (extract(epoch from now()) - n / 1000.0)) from generate_series(1, 20000) n`,
    [test.schema, queue.name],
  )
  await queue.enqueue(1)
  await expect.poll(() => seen, { timeout: 20_000 }).toEqual([1])
  // It was told of all of them by then: notifications come in the order of their commits.
  const elapsedMs = performance.now() - start
  expect(looks.most).toBeLessThanOrEqual(2) // the other one after the enqueue was told of
  expect(looks.count - before).toBeLessThanOrEqual(2 * (elapsedMs / lookMs) + 3)
  await consumer.stop()
})

// --- internal ---

/** Consumers of one client that listen, over connections on which each look takes this long, and the count of their looks. */
async function listening(lookMs = 0) {
  const queue = await test.queue<number>({ pollInterval: '1h' })
  const pool = new pg.Pool({ connectionString: test.url, max: 4 })
  const looks = { count: 0, underWay: 0, most: 0 }
  const slow = {
    async query(config: { text: string }) {
      if (!config.text.includes('.poll(')) return pool.query(config)
      looks.count++
      looks.most = Math.max(looks.most, ++looks.underWay)
      await new Promise((resolve) => setTimeout(resolve, lookMs))
      looks.underWay--
      return pool.query(config)
    },
  }
  const events: string[] = []
  const dueq = test.another({ pool: slow, listenUrl: test.url, onEvent: ({ type }) => void events.push(type) })
  const seen: number[] = []
  const consume = () => dueq.queue<number>(queue.name).consume(async ({ payload }) => void seen.push(payload))
  const [consumer] = [consume(), ...Array.from({ length: 7 }, consume)]
  await expect.poll(async () => (await dueq.check()).isListening, { timeout: 20_000 }).toBe(true)
  return { queue, consumer, seen, looks, events }
}
