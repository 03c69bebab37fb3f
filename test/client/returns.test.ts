// Nacks and releases of a process in batches: few statements, and none of them waits for anybody.
import { setTimeout as delay } from 'node:timers/promises'
import postgres from 'postgres'
import { afterAll, afterEach, beforeAll, expect, it } from 'vitest'
import type { Dueq, Message } from '../../src/index.js'
import { closeSessions, openSession } from '../support/sessions.js'
import { codeOf, startClient, type TestClient } from './client.js'

let test: TestClient
beforeAll(async () => {
  test = await startClient()
})
afterEach(() => closeSessions())
afterAll(() => test.close())

async function claimed(dueq: Dueq, count: number): Promise<Message[]> {
  const { name } = await test.queue({ lease: '1m', backoff: { base: '1h', max: '1h' } })
  await test.dueq.queue(name).enqueueMany(Array.from({ length: count }, (_, payload) => ({ payload })))
  return dueq.queue(name).dequeue({ max: count })
}

const statesOf = async (messages: readonly Message[]): Promise<string[]> => {
  const rows = await test.sql`
    select state from ${test.sql(test.schema)}.message_states where id = any(${messages.map(({ id }) => id)}) order by id`
  return rows.map(({ state }) => state)
}

/** A client that counts its statements by the function they call. */
function counting() {
  const counts: Record<string, number> = {}
  const sql = postgres(test.url, { max: 4, onnotice: () => {} })
  const dueq = test.another({
    query: (text, params) => {
      const [, name] = /"\.(\w+)\(/.exec(text) ?? []
      counts[name!] = (counts[name!] ?? 0) + 1
      return sql.unsafe(text, params as never[]).values() as unknown as Promise<unknown[]>
    },
  })
  const close = async (): Promise<void> => {
    await dueq.close()
    await sql.end()
  }
  return { counts, dueq, [Symbol.asyncDispose]: close }
}

/** Makes the engine do this before it changes a message with this payload. */
async function onUpdate(payload: string, does: string): Promise<() => Promise<void>> {
  const { sql, schema } = test
  await sql.unsafe(`
    create or replace function ${schema}.disturb() returns trigger language plpgsql as $$
    begin
      if old.payload = '${payload}' and new.leased_by is null then ${does}; end if;
      return new;
    end $$;
    create trigger disturb before update on ${schema}.messages for each row execute function ${schema}.disturb()`)
  return async () => void (await sql.unsafe(`drop trigger disturb on ${schema}.messages`))
}

it('five hundred nacks called at once are two statements, and each message has its own error and delay', async () => {
  await using client = counting()
  const messages = await claimed(client.dueq, 500)
  const outcomes = await Promise.all(messages.map((message, i) => message.nack(`e${i}`, i % 2 ? { delay: i } : {})))
  expect(new Set(outcomes)).toEqual(new Set(['retry']))
  expect(client.counts['nack_many']).toBe(2)
  const rows = await test.sql`
    select payload::int as i, last_error, failures, ready_at < ${test.sql(test.schema)}.clock() + interval '10 min' as is_soon
      from ${test.sql(test.schema)}.messages where id = any(${messages.map(({ id }) => id)})`
  expect(rows.filter((row) => row['last_error'] === `e${row['i']}` && row['failures'] === 1)).toHaveLength(500)
  expect(rows.filter((row) => row['is_soon'] === (row['i'] % 2 === 1))).toHaveLength(500)
})

it('what a consumer has prefetched is given back by a few statements when it stops', async () => {
  await using client = counting()
  const { name } = await test.queue({ lease: '1m', pollInterval: '100ms' })
  const consumer = client.dueq.queue(name).consume(async ({ payload }) => {
    if (payload === 'slow') await delay(300)
  })
  await test.dueq.queue(name).enqueueMany(Array.from({ length: 200 }, () => ({ payload: 'quick' })))
  await expect.poll(() => test.dueq.queue(name).stats()).toMatchObject({ ready: 0, leased: 0 })
  await test.dueq.queue(name).enqueueMany(Array.from({ length: 400 }, () => ({ payload: 'slow' })))
  await expect.poll(() => consumer.status.buffered).toBeGreaterThan(50)
  const { released } = await consumer.stop()
  expect(released).toBeGreaterThan(50)
  expect(client.counts['release_many']).toBeLessThanOrEqual(3)
  expect(await test.dueq.queue(name).stats()).toMatchObject({ leased: 0 })
})

it.each([
  ['nack', (message: Message) => message.nack('failed')],
  ['release', (message: Message) => message.release({ delay: '1h' })],
] as const)(
  'promise 3i: an open transaction that holds one row delays no other %s, extension or ack, on one connection even, and that one comes after it',
  async (_, settle) => {
    const dueq = test.anotherByUrl({ url: test.url, max: 1 })
    const [busy, ...others] = await claimed(dueq, 5)
    await using stranger = await openSession()
    await stranger.begin()
    await stranger.query(`select from ${test.schema}.messages where id = $1 for update`, [busy!.id])
    let isBusySettled = false
    const settling = settle(busy!).finally(() => {
      isBusySettled = true
    })
    await settle(others[0]!)
    await others[1]!.extend('2m')
    await others[1]!.ack()
    await Promise.all(others.slice(2).map((message): Promise<unknown> => settle(message)))
    expect(isBusySettled).toBe(false)
    await stranger.rollback()
    await settling
    expect(await statesOf([busy!, ...others])).toEqual(Array(4).fill('delayed'))
  },
)

it('promise 3i: a message whose row stays held until its lease ends is refused with lock.timeout', async () => {
  const { name } = await test.queue({ lease: '1s' })
  await test.dueq.queue(name).enqueue(1)
  const [message] = await test.dueq.queue(name).dequeue()
  await using stranger = await openSession()
  await stranger.begin()
  await stranger.query(`select from ${test.schema}.messages where id = $1 for update`, [message!.id])
  expect(await codeOf(message!.nack('failed'))).toBe('lock.timeout')
})

it('promise 3i: a message that the database refuses fails alone, its neighbours in the batch are settled', async () => {
  const undo = await onUpdate('3', `raise exception 'not this one'`)
  try {
    const messages = await claimed(test.dueq, 6)
    const codes = await Promise.all(messages.map((message) => codeOf(message.nack('failed'))))
    expect(codes).toEqual(['none', 'none', 'none', 'database.error', 'none', 'none'])
    expect(await statesOf(messages)).toEqual(['delayed', 'delayed', 'delayed', 'leased', 'delayed', 'delayed'])
  } finally {
    await undo()
  }
})

it('promise 3: a connection that is killed takes along the batch in flight, whose outcome is unknown, and not the one behind it', async () => {
  const undo = await onUpdate('0', 'perform pg_sleep(60)')
  try {
    const dueq = test.anotherByUrl({ url: test.url, max: 2 })
    const [first, ...others] = await claimed(dueq, 4)
    const failing = first!.nack('in flight').catch((error: unknown) => error)
    const settling = Promise.all(others.map((message) => message.nack('behind it')))
    const kill = async (): Promise<number> => {
      const { count } = await test.sql`
        select pg_terminate_backend(pid) from pg_stat_activity
         where wait_event = 'PgSleep' and query like ${`%${test.schema}%nack_many%`}`
      return count
    }
    await expect.poll(kill).toBe(1)
    expect(await failing).toMatchObject({ code: 'database.unreachable', isOutcomeUnknown: true })
    expect(await settling).toEqual(['retry', 'retry', 'retry'])
    expect(await statesOf([first!, ...others])).toEqual(['leased', 'delayed', 'delayed', 'delayed'])
  } finally {
    await undo()
  }
})

it('promise 3: close() sends what was called before it', async () => {
  const dueq = test.anotherByUrl({ url: test.url, max: 1 })
  const messages = await claimed(dueq, 20)
  const settling = Promise.all(messages.map((message, i) => (i % 2 ? message.nack('last words') : message.release())))
  await dueq.close()
  await settling
  expect(new Set(await statesOf(messages))).toEqual(new Set(['delayed', 'ready']))
})

it('promise 3: close() waits for every settle that was called before it, also where nobody awaits it', async () => {
  const dueq = test.anotherByUrl({ url: test.url, max: 2 })
  const messages = await claimed(dueq, 6)
  await using stranger = await openSession()
  await stranger.begin()
  const ids = messages.map(({ id }) => id)
  await stranger.query(`select from ${test.schema}.messages where id = any($1) for update`, [ids.slice(0, 2)])
  for (const message of messages.filter((_, i) => i !== 1)) void message.ack().catch(() => {})
  void messages[1]!.deadLetter('broken').catch(() => {})
  await expect.poll(() => statesOf(messages)).toEqual(['leased', 'leased'])
  const closing = dueq.close()
  await stranger.rollback()
  await closing
  expect(await statesOf(messages)).toEqual([])
})

it('close() gives up at its deadline what is not answered until then', async () => {
  const dueq = test.anotherByUrl({ url: test.url })
  const [message] = await claimed(dueq, 1)
  await using stranger = await openSession()
  await stranger.begin()
  await stranger.query(`select from ${test.schema}.messages where id = $1 for update`, [message!.id])
  const acking = message!.ack().catch(() => {})
  await dueq.close({ deadline: '50ms' })
  await acking
  await stranger.rollback()
  expect(await statesOf([message!])).toEqual(['leased'])
})

it('promise 3i: with every connection busy and hundreds of statements waiting for one, an extension and a settle are next', async () => {
  const dueq = test.anotherByUrl({ url: test.url, max: 1 })
  const [kept, failed] = await claimed(dueq, 2)
  const { name } = await test.queue()
  await test.dueq.queue(name).enqueue(1, { dedupKey: 'k' })
  await using stranger = await openSession()
  await stranger.begin()
  await stranger.query(`delete from ${test.schema}.messages where dedup_key = 'k'`)
  // The only connection waits for the stranger, and everybody else for the connection.
  const order: string[] = []
  const told = (what: string, done: Promise<unknown>) => done.then(() => void order.push(what))
  const blocked = told('blocked', dueq.queue(name).enqueue(2, { dedupKey: 'k' }))
  await expect.poll(() => waitingCount()).toBeGreaterThan(0)
  const waiting = Array.from({ length: 300 }, () => told('waiting', dueq.stats()))
  const urgent = [told('extended', kept!.extend()), told('nacked', failed!.nack('failed'))]
  await stranger.rollback()
  await Promise.all([blocked, ...waiting, ...urgent])
  expect(order.slice(0, 3)).toEqual(['blocked', 'extended', 'nacked'])
})

async function waitingCount(): Promise<number> {
  const { count } = await test.sql`
    select from pg_stat_activity where wait_event_type = 'Lock' and query like ${`%${test.schema}%`}`
  return count
}
