/**
 * Enqueues that share a statement: who rides with whom, and that nobody pays for a neighbour.
 *
 * Statements go through a query function that records them and can hold them back, so that it is known what is in flight.
 */
import { afterAll, beforeAll, expect, it } from 'vitest'
import type { ConnectOptions, QueryFunction } from '../../src/index.js'
import { openSession } from '../support/sessions.js'
import { codeOf, startClient, type TestClient } from './client.js'

let test: TestClient
beforeAll(async () => {
  test = await startClient()
})
afterAll(() => test.close())

/** A driver whose enqueue statements are recorded by their number of messages, and wait while the gate is shut. */
async function gated(options: ConnectOptions = {}) {
  const { name } = await test.queue()
  const sent: number[] = []
  let open = (): void => {}
  let gate: Promise<void> | undefined
  let fail: ((size: number) => unknown) | undefined
  const query: QueryFunction = async (text, params) => {
    if (text.includes('enqueue')) {
      const size = text.includes('enqueue_many') ? JSON.parse(`[${params[1]!.slice(1, -1)}]`).length : 1
      sent.push(size)
      await gate
      const error = fail?.(size)
      if (error) throw error
    }
    return test.sql.unsafe(text, params as never[]).values()
  }
  const dueq = test.another({ query, listen: false, ...options })
  const queue = dueq.queue<unknown>(name)
  await queue.stats()
  return {
    dueq,
    queue,
    sent,
    shut() {
      gate = new Promise((resolve) => {
        open = resolve
      })
    },
    open: () => open(),
    failing(how: typeof fail) {
      fail = how
    },
    stored: async () => {
      const rows = await test.sql`
        select payload from ${test.sql(test.schema)}.message_states where queue = ${name} order by id`
      return rows.map((row) => row['payload'] as unknown)
    },
  }
}

const range = (count: number): readonly number[] => Array.from({ length: count }, (_, i) => i)

it('what is called while a statement is in flight rides in the next one, in the order of the calls', async () => {
  const { queue, sent, shut, open, stored } = await gated()
  shut()
  const calls = range(50).map((i) => queue.enqueue(i, i % 7 === 0 ? { delay: '1h', headers: { i } } : {}))
  await Promise.resolve()
  expect(sent).toEqual([1])
  open()
  const answers = await Promise.all(calls)
  expect(sent).toEqual([1, 49])
  expect(answers.every(({ created }) => created)).toBe(true)
  const ids = answers.map(({ id }) => BigInt(id))
  expect(ids).toEqual(ids.toSorted((a, b) => Number(a - b)))
  expect(await stored()).toEqual(range(50))
})

it('calls one after the other are single statements, sent at once', async () => {
  const { queue, sent } = await gated()
  for (const i of range(5)) await queue.enqueue(i)
  expect(sent).toEqual([1, 1, 1, 1, 1])
})

it('callers in a loop share their statements from the second round on', async () => {
  const { queue, sent, stored } = await gated()
  await Promise.all(
    range(8).map(async () => {
      for (const i of range(10)) await queue.enqueue(i)
    }),
  )
  expect(sent.length).toBeLessThanOrEqual(12)
  expect(await stored()).toHaveLength(80)
})

it('a statement has at most 1000 messages', async () => {
  const { queue, sent, shut, open } = await gated()
  shut()
  const calls = range(1502).map((i) => queue.enqueue(i))
  open()
  await Promise.all(calls)
  expect(sent).toEqual([1, 1000, 501])
})

it('and no more after 4 million characters of JSON', async () => {
  const { queue, sent, shut, open } = await gated()
  shut()
  const large = range(8).map(() => queue.enqueue('x'.repeat(900_000)))
  open()
  await Promise.all(large)
  expect(sent).toEqual([1, 5, 2])
})

it('a message that the database refuses fails alone, and its neighbours are enqueued', async () => {
  const { queue, shut, open, stored } = await gated()
  shut()
  // 36 kB here, and as PostgreSQL writes it, with 300 zeros each, more than a megabyte: what only the database can refuse.
  const bad = range(4000).map(() => 1.5e-300)
  const calls = range(40).map((i) => queue.enqueue(i === 23 ? bad : i))
  open()
  const results = await Promise.allSettled(calls)
  expect(results.flatMap(({ status }, i) => (status === 'rejected' ? [i] : []))).toEqual([23])
  expect(await codeOf(calls[23]!)).toBe('payload.too_large')
  expect(await stored()).toEqual(range(40).filter((i) => i !== 23))
})

it('what fails for all is told to all, without a repetition', async () => {
  const { queue, sent, failing, shut, open } = await gated()
  failing((size) => size > 1 && Object.assign(new Error('no space left'), { code: '53100' }))
  shut()
  const calls = range(10).map((i) => queue.enqueue(i))
  open()
  const codes = await Promise.all(calls.map(codeOf))
  expect(codes).toEqual(['none', ...range(9).map(() => 'database.full')])
  expect(sent).toEqual([1, 9])
})

it('a lost answer is unknown to exactly those whose statement was in flight', async () => {
  const { queue, sent, failing, shut, open } = await gated()
  let isFirst = true
  failing((size) => {
    if (size === 1 || !isFirst) return undefined
    isFirst = false
    return Object.assign(new Error('read ECONNRESET'), { code: 'ECONNRESET' })
  })
  shut()
  const first = range(5).map((i) => queue.enqueue(i))
  open()
  shut()
  await expect.poll(() => sent).toEqual([1, 4])
  const later = range(5).map((i) => queue.enqueue(i))
  open()
  const results = await Promise.allSettled([...first, ...later])
  expect(results.map((result) => result.status === 'rejected' && result.reason.isOutcomeUnknown)).toEqual([
    false,
    ...range(4).map(() => true),
    ...range(5).map(() => false),
  ])
})

it.each([
  ['a dedup key', { dedupKey: 'held' }, `enqueue('QUEUE', '0', dedup_key => 'held')`],
  ['a level that is new to the queue', { priority: 7 }, `enqueue('QUEUE', '0', priority => 9)`],
])('%s that waits for the transaction of a stranger delays nobody else', async (_, options, held) => {
  const { queue, stored } = await gated()
  await using stranger = await openSession()
  await stranger.begin()
  await stranger.query(`select ${test.schema}.${held.replace('QUEUE', queue.name)}`)
  let isHeld = true
  const waiting = queue.enqueue('held', options).finally(() => {
    isHeld = false
  })
  await Promise.all(range(20).map((i) => queue.enqueue(i)))
  expect(isHeld).toBe(true)
  await stranger.commit()
  await waiting
  expect((await stored()).length).toBeGreaterThan(20)
})

it('in a transaction, and with `coalesce: false`, each call is a statement of its own', async () => {
  const { queue, sent, shut, open, dueq } = await gated({ coalesce: false })
  shut()
  const calls = range(5).map((i) => queue.enqueue(i))
  await expect.poll(() => sent).toEqual([1, 1, 1, 1, 1])
  open()
  await Promise.all(calls)
  const texts: string[] = []
  const inside = dueq.in((text, params) => {
    texts.push(text)
    return test.sql.unsafe(text, params as never[]).values()
  })
  await Promise.all(range(3).map((i) => inside.queue(queue.name).enqueue(i)))
  expect(texts.filter((text) => text.includes('enqueue_many'))).toEqual([])
  expect(texts).toHaveLength(3)
})

it('a statement that hangs keeps those behind it no longer than a second, or a quarter of the timeout', async () => {
  const { queue, shut, open, sent, stored } = await gated({ timeout: '8s' })
  shut()
  const hanging = queue.enqueue('hanging')
  const others = range(4).map((i) => queue.enqueue(i))
  await expect.poll(() => sent).toEqual([1, 4])
  const late = queue.enqueue('late')
  open()
  await Promise.all([hanging, late, ...others])
  expect(await stored()).toHaveLength(6)
})

it('the timeout counts from the call, the wait for the statement before included', async () => {
  const { queue, shut, open, sent } = await gated({ timeout: '1s' })
  shut()
  const start = performance.now()
  const calls = range(4).map((i) => queue.enqueue(i))
  const errors = (await Promise.allSettled(calls)).map((result) => result.status === 'rejected' && result.reason)
  expect(performance.now() - start).toBeLessThan(1_240) // sent behind the first after 250 ms, and given up in time
  open()
  expect(errors.map(({ code, isOutcomeUnknown }) => [code, isOutcomeUnknown])).toEqual(
    range(4).map(() => ['timeout', true]),
  )
  expect(sent).toEqual([1, 3])
})

it('more than 100000 waiting messages are refused at once, and nothing of them is sent', async () => {
  const { queue, shut, open, stored } = await gated()
  shut()
  const calls = range(100_002).map((i) => queue.enqueue(i))
  expect(await codeOf(calls.at(-1)!)).toBe('enqueue.overloaded')
  open()
  await Promise.all(calls.slice(0, -1))
  expect(await stored()).toHaveLength(100_001)
})

it('what is on its way counts as well, until it is answered', async () => {
  const { queue, sent, shut, open, failing } = await gated()
  failing((size) => size > 1 && new Error('no space left'))
  const mega = 'x'.repeat(999_000)
  shut()
  const first = queue.enqueue(0)
  const calls = range(64).map(() => queue.enqueue(mega))
  await expect.poll(() => sent, { timeout: 5_000 }).toEqual([1, 5]) // behind the first one, which hangs
  expect(await codeOf(queue.enqueue(mega))).toBe('enqueue.overloaded')
  open()
  await Promise.allSettled([first, ...calls])
  expect(await codeOf(Promise.all([queue.enqueue(1), queue.enqueue(2)]))).not.toBe('enqueue.overloaded')
})

it('close sends what waits, and takes no more', async () => {
  const { queue, dueq, shut, open, stored } = await gated()
  shut()
  const calls = range(20).map((i) => queue.enqueue(i))
  const closing = dueq.close()
  await Promise.resolve()
  open()
  await Promise.all([...calls, closing])
  expect(await codeOf(queue.enqueue('late'))).toBe('client.closed')
  expect(await stored()).toEqual(range(20))
})

it('close does not wait for good: what could not be sent within a second was not', async () => {
  const { queue, dueq, shut, open, stored } = await gated()
  shut()
  const calls = range(5).map((i) => queue.enqueue(i))
  await dueq.close()
  expect(await Promise.all(calls.slice(1).map(codeOf))).toEqual(range(4).map(() => 'client.closed'))
  open()
  await calls[0]!.catch(() => {})
  expect(await stored()).toEqual([0])
})
