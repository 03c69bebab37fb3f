import { setTimeout as delay } from 'node:timers/promises'
import pg from 'pg'
import { afterAll, beforeAll, expect, it } from 'vitest'
import { DueqError } from '../../src/errors.js'
import type { ConnectOptions } from '../../src/index.js'
import { startClient, type TestClient } from './client.js'

let client: TestClient
beforeAll(async () => {
  client = await startClient()
  // A message that takes its time to be stored, as behind a slow disk or a synchronous standby that does not answer.
  await client.sql.unsafe(`
    create function ${client.schema}.slow() returns trigger language plpgsql as $$
    begin
      perform pg_sleep((new.payload->>'sleep')::float);
      return new;
    end $$;
    create trigger slow before insert on ${client.schema}.messages
      for each row when (new.payload ? 'sleep') execute function ${client.schema}.slow();
  `)
})
afterAll(() => client.close())

const rejection = async (promise: Promise<unknown>): Promise<DueqError> => {
  const error = await promise.then(
    () => new Error('it was fulfilled'),
    (error: unknown) => error,
  )
  if (error instanceof DueqError) return error
  throw error
}

const pools: pg.Pool[] = []
afterAll(() => Promise.all(pools.map((pool) => pool.end())))

const connections: Readonly<Record<string, (max: number) => ConnectOptions>> = {
  'a URL': (max) => ({ url: client.url, max }),
  'a pg pool': (max) => {
    const pool = new pg.Pool({ connectionString: client.url, max, application_name: 'dueq' })
    pool.on('error', () => {})
    pools.push(pool)
    return { pool }
  },
}

for (const [name, connection] of Object.entries(connections)) {
  it(`over ${name}: an enqueue without an answer by the deadline has an unknown outcome; this one takes effect later`, async () => {
    const { name } = await client.queue()
    const queue = client.anotherByUrl({ ...connection(2), timeout: '300ms' }).queue(name)
    await queue.stats()
    const error = await rejection(queue.enqueue({ sleep: 1 }))
    expect(error).toMatchObject({ code: 'timeout', isOutcomeUnknown: true })
    expect(error.message).toContain('unknown')
    await expect.poll(() => client.dueq.queue(name).stats(), { timeout: 5_000 }).toMatchObject({ ready: 1 })
  })

  it(`over ${name}: an enqueue whose connection is lost has an unknown outcome, and its dedup key makes a repetition safe`, async () => {
    const { name } = await client.queue()
    const queue = client.anotherByUrl(connection(2)).queue(name)
    await queue.stats()
    const enqueueing = rejection(queue.enqueue({ sleep: 2 }, { dedupKey: 'once' }))
    await expect
      .poll(
        () => client.sql`
        select pg_terminate_backend(pid) from pg_stat_activity
         where wait_event = 'PgSleep' and query like ${`%${client.schema}%enqueue(%`} and pid <> pg_backend_pid()`,
      )
      .toHaveLength(1)
    expect(await enqueueing).toMatchObject({ code: 'database.unreachable', isOutcomeUnknown: true })
    expect(await queue.enqueue({}, { dedupKey: 'once' })).toMatchObject({ created: true })
  })

  it(`over ${name}: an enqueue that the database refuses has no effect, and says so`, async () => {
    const queue = client.anotherByUrl(connection(2)).queue('nowhere')
    expect(await rejection(queue.enqueue({}))).toMatchObject({ code: 'queue.unknown', isOutcomeUnknown: false })
  })
}

it('an enqueue that reaches no server has no effect, and says so', async () => {
  const queue = client.another({ url: 'postgres://dueq@127.0.0.1:1/none' }).queue('any')
  expect(await rejection(queue.enqueue({}))).toMatchObject({ code: 'database.unreachable', isOutcomeUnknown: false })
})

it('a statement that misses its deadline takes no other one along', async () => {
  const { name } = await client.queue()
  const queue = client.anotherByUrl({ max: 2, timeout: '1s' }).queue(name)
  await queue.stats()
  const late = rejection(queue.enqueue({ sleep: 3 }))
  await delay(600)
  const intime = queue.enqueue({ sleep: 0.7 }) // in flight when the other one is given up
  expect(await late).toMatchObject({ code: 'timeout' })
  expect(await intime).toMatchObject({ created: true })
})

it('a statement for which no connection became free has not been sent, and says so', async () => {
  const { name } = await client.queue()
  const queue = client.anotherByUrl({ max: 1, timeout: '500ms' }).queue(name)
  await queue.stats()
  const slow = rejection(queue.enqueue({ sleep: 1 }))
  const second = rejection(queue.enqueue({ sleep: 0.4, second: true }))
  const third = rejection(queue.enqueue({ third: true }))
  expect(await slow).toMatchObject({ code: 'timeout', isOutcomeUnknown: true })
  for (const error of [await second, await third]) {
    expect(error).toMatchObject({ code: 'timeout', isOutcomeUnknown: false })
    expect(error.message).toContain('nothing was sent')
  }
  expect(await queue.enqueue({ fourth: true })).toMatchObject({ created: true })
  await expect.poll(() => client.dueq.queue(name).stats(), { timeout: 5_000 }).toMatchObject({ ready: 2 })
})

it('close rejects what still waits for a connection', async () => {
  const { name } = await client.queue()
  const dueq = client.anotherByUrl({ max: 1, coalesce: false })
  await dueq.queue(name).stats()
  const slow = dueq.queue(name).enqueue({ sleep: 0.5 })
  const waiting = rejection(dueq.queue(name).enqueue({}))
  await delay(50)
  await dueq.close()
  expect(await waiting).toMatchObject({ code: 'client.closed', isOutcomeUnknown: false })
  expect(await slow).toMatchObject({ created: true })
})
