import { setTimeout as delay } from 'node:timers/promises'
import { afterAll, beforeAll, type ExpectStatic, expect, it } from 'vitest'
import { type Dueq, defineQueue } from '../../src/index.js'
import { codeOf, startClient, type TestClient } from '../client/client.js'
import { startProxy, type TcpProxy } from '../faults/proxy.js'
import { startSilent } from '../support/fake-server.js'
import { killAll, startProcess } from '../support/processes.js'
import { openSession } from '../support/sessions.js'

let test: TestClient
beforeAll(async () => {
  test = await startClient()
})
afterAll(async () => {
  killAll()
  await test.close()
})

/** Everything that asks the database. */
const calls: Readonly<Record<string, (dueq: Dueq) => Promise<unknown>>> = {
  enqueue: (dueq) => dueq.queue('q1').enqueue(1),
  enqueueMany: (dueq) => dueq.queue('q1').enqueueMany([{ payload: 1 }]),
  'enqueueMany of an async iterable': (dueq) =>
    dueq.queue('q1').enqueueMany(
      (async function* () {
        yield { payload: 1 }
      })(),
    ),
  dequeue: (dueq) => dueq.queue('q1').dequeue(),
  'dequeue with a wait': (dueq) => dueq.queue('q1').dequeue({ wait: '10s' }),
  ensure: (dueq) => dueq.ensure([defineQueue('q1')]),
  check: (dueq) => dueq.check(),
  doctor: (dueq) => dueq.doctor(),
  stats: (dueq) => dueq.stats(),
  cancel: (dueq) => dueq.cancel('1'),
  reschedule: (dueq) => dueq.reschedule('1', { delay: 0 }),
  pause: (dueq) => dueq.queue('q1').pause(),
  redrive: (dueq) => dueq.queue('q1').redrive(),
  purge: (dueq) => dueq.queue('q1').purge(),
  drop: (dueq) => dueq.queue('q1').drop(),
}
const expectedCodes = Object.keys(calls).map((name) => (name.includes('iterable') ? 'enqueue.incomplete' : 'timeout'))

/** The codes of all calls at once, and how long the slowest took. */
async function codesOf(dueq: Dueq): Promise<{ readonly codes: readonly string[]; readonly ms: number }> {
  const start = performance.now()
  const codes = await Promise.all(Object.values(calls).map((call) => codeOf(call(dueq))))
  return { codes, ms: performance.now() - start }
}

it('every call ends by the deadline where the server accepts and says nothing, and so does close', async () => {
  await using server = await startSilent()
  const dueq = test.another({ url: server.url, timeout: '500ms' })
  const { codes, ms } = await codesOf(dueq)
  expect(codes).toEqual(expectedCodes)
  expect(ms).toBeLessThan(10_000)
  const start = performance.now()
  await dueq.close({ deadline: '200ms' })
  expect(performance.now() - start).toBeLessThan(10_000)
})

it('every call ends by the deadline where the connections fall silent, and goes through when they are back', async () => {
  await using proxy = await startProxy(test.url)
  await test.queue()
  const dueq = test.another({ url: proxy.url, timeout: '500ms' })
  await dueq.check()
  proxy.freeze()
  const { codes, ms } = await codesOf(dueq)
  expect(codes).toEqual(expectedCodes)
  expect(ms).toBeLessThan(10_000)
  proxy.thaw()
  await expect.poll(() => codeOf(dueq.check()), { timeout: 10_000 }).toBe('none')
  await dueq.close()
})

it('an address that answers nothing at all ends by the deadline too', async () => {
  const dueq = test.another({ url: 'postgres://user@192.0.2.1:5432/db', timeout: '500ms' }) // reserved for documentation
  const start = performance.now()
  expect(['timeout', 'database.unreachable']).toContain(await codeOf(dueq.check()))
  await dueq.close({ deadline: '200ms' })
  expect(performance.now() - start).toBeLessThan(10_000)
})

/** Each way to be busy, on a client whose connections are frozen then. */
const states: Readonly<
  Record<string, (dueq: Dueq, proxy: TcpProxy, queue: string, expect: ExpectStatic) => Promise<unknown>>
> = {
  'nothing under way': async (_, proxy) => proxy.freeze(),
  'a consumer that waits': async (dueq, proxy, queue, expect) => {
    const consumer = dueq.queue(queue).consume(() => {})
    await expect.poll(() => consumer.status.lastClaimAt, { timeout: 10_000 }).not.toBeNull()
    proxy.freeze()
  },
  'a consumer whose claim is under way': async (dueq, proxy, queue, expect) => {
    const consumer = dueq.queue(queue).consume(() => {}, { pollInterval: '100ms' })
    await expect.poll(() => consumer.status.lastClaimAt, { timeout: 10_000 }).not.toBeNull()
    proxy.freeze()
    await delay(300)
  },
  'an ack under way': async (dueq, proxy, queue, expect) => {
    const consumer = dueq.queue(queue).consume(() => proxy.freeze())
    await test.dueq.queue(queue).enqueue(1)
    await expect.poll(() => consumer.status.settling, { timeout: 10_000 }).toBe(1)
  },
  'a handler that ignores its signal': async (dueq, proxy, queue, expect) => {
    const consumer = dueq.queue(queue).consume(() => new Promise(() => {}))
    await test.dueq.queue(queue).enqueue(1)
    await expect.poll(() => consumer.status.running, { timeout: 10_000 }).toBe(1)
    proxy.freeze()
  },
  'a dequeue that waits': async (dueq, proxy, queue) => {
    dueq
      .queue(queue)
      .dequeue({ wait: '1m' })
      .catch(() => {})
    await delay(100)
    proxy.freeze()
  },
  'a loop over messages': async (dueq, proxy, queue) => {
    const looping = async (): Promise<void> => {
      for await (const _ of dueq.queue(queue).messages()) proxy.freeze()
    }
    looping().catch(() => {})
    await test.dueq.queue(queue).enqueue(1)
    await delay(300)
    proxy.freeze()
  },
  'an iterable that never yields': async (dueq, proxy, queue) => {
    const items = { [Symbol.asyncIterator]: () => ({ next: () => new Promise<never>(() => {}) }) }
    dueq
      .queue(queue)
      .enqueueMany(items)
      .catch(() => {})
    proxy.freeze()
  },
}

it.concurrent.for(Object.keys(states))(
  'close ends by its deadline over frozen connections with %s',
  async (state, { expect }) => {
    await using proxy = await startProxy(test.url)
    const { name } = await test.queue()
    const dueq = test.another({ url: proxy.url })
    await states[state]!(dueq, proxy, name, expect)
    const start = performance.now()
    await dueq.close({ deadline: '300ms' })
    expect(performance.now() - start).toBeLessThan(10_000)
  },
)

it('stop reports the handler that ignores its signal, at the deadline, and its message comes again', async () => {
  const queue = await test.queue({ lease: '1s', pollInterval: '100ms' })
  const attempts: number[] = []
  const first = queue.consume(({ attempt }) => {
    attempts.push(attempt)
    return new Promise(() => {})
  })
  await queue.enqueue(1)
  await expect.poll(() => attempts, { timeout: 10_000 }).toEqual([1])
  const start = performance.now()
  expect(await first.stop({ deadline: '200ms' })).toMatchObject({ stillRunning: 1 })
  expect(performance.now() - start).toBeLessThan(10_000)
  const second = queue.consume(({ attempt }) => void attempts.push(attempt))
  await expect.poll(() => attempts, { timeout: 10_000 }).toEqual([1, 2])
  await second.stop()
})

it.each([false, true])(
  'a process ends by itself after close with a handler that never settles (frozen: %s)',
  async (isFrozen) => {
    await using proxy = await startProxy(test.url)
    const queue = await test.queue()
    await queue.enqueue(1)
    const child = startProcess('test/surroundings/fixtures/stuck.mjs', [], {
      DUEQ_URL: proxy.url,
      DUEQ_TEST_SCHEMA: test.schema,
      DUEQ_QUEUE: queue.name,
    })
    await child.waitForLine<{ isStarted?: boolean }>(({ isStarted }) => isStarted === true)
    if (isFrozen) proxy.freeze()
    child.send('close')
    const { report } = await child.waitForLine<{ report?: object }>((line) => 'report' in line, 5_000)
    expect(report).toEqual({ finished: 0, released: 0, stillRunning: 1 })
    const start = performance.now()
    expect(await child.exited).toEqual({ code: 0, signal: null })
    expect(performance.now() - start).toBeLessThan(10_000)
  },
)

it('an ack whose row a stranger has locked ends with the lease, and the message comes again when it is free', async () => {
  const queue = await test.queue({ lease: '1s', pollInterval: '100ms' })
  const codes: string[] = []
  await using session = await openSession(test.url)
  const consumer = queue.consume(async (message) => {
    if (message.attempt > 1) return
    await session.begin()
    await session.query(`select from ${test.schema}.messages where id = $1 for update`, [message.id])
    codes.push(await codeOf(message.ack()))
    throw new Error('not acked')
  })
  await queue.enqueue(1)
  await expect.poll(() => codes, { timeout: 10_000 }).toHaveLength(1)
  expect(['lock.timeout', 'lease.lost']).toContain(codes[0])
  await session.rollback()
  await expect
    .poll(() => queue.stats(), { timeout: 10_000 })
    .toMatchObject({ ready: 0, leased: 0, lapsed: 0, dead: 0, delayed: 0 })
  await consumer.stop()
})

it('a schema that never answers holds up one message, not the consumer, and the message comes again', async () => {
  const { name } = await test.queue({ lease: '3s', pollInterval: '100ms' })
  let hangs = 0
  const payload = {
    '~standard': {
      version: 1 as const,
      vendor: 'test',
      validate: (value: unknown) => (value === 'hangs' && hangs++ === 0 ? new Promise<never>(() => {}) : { value }),
    },
  }
  const dueq = test.another()
  const seen: unknown[] = []
  const consumer = dueq
    .queue(defineQueue(name, { payload, lease: '3s', pollInterval: '100ms' }))
    .consume((message) => void seen.push([message.payload, message.attempt]))
  await test.dueq.queue(name).enqueueMany([{ payload: 'hangs' }, { payload: 'other' }])
  await expect.poll(() => seen.length, { timeout: 10_000 }).toBe(2)
  expect(seen.toSorted()).toEqual([
    ['hangs', 2],
    ['other', 1],
  ])
  await consumer.stop()
})

it('a listener whose promise never settles delays nothing', async () => {
  const { name } = await test.queue({ pollInterval: '100ms' })
  const dueq = test.another({ onEvent: () => new Promise<never>(() => {}) as never })
  const handled: string[] = []
  dueq.queue(name).consume(({ id }) => void handled.push(id))
  const { id } = await dueq.queue(name).enqueue(1)
  await expect.poll(() => handled, { timeout: 10_000 }).toEqual([id])
  await dueq.close({ deadline: '1s' })
})
