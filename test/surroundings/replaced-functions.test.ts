import { setTimeout as delay } from 'node:timers/promises'
import pg from 'pg'
import postgres from 'postgres'
import { afterAll, beforeAll, expect, it } from 'vitest'
import type { ConnectOptions } from '../../src/index.js'
import { migrate } from '../../src/migrate.js'
import { startClient, type TestClient } from '../client/client.js'
import { openSession, type Session } from '../support/sessions.js'
import { variant } from '../support/variant.js'

// Longer runs find rarer moments.
const runMs = (variant.seconds ?? 0.8) * 1000

let test: TestClient
let migrator: Session
beforeAll(async () => {
  test = await startClient()
  migrator = await openSession(test.url)
  await migrator.query(`set search_path = ${test.schema}, pg_temp`)
})
afterAll(async () => {
  await migrator.close()
  await test.close()
})

type Definition = { readonly name: string; readonly signature: string; readonly text: string }

/** The functions of the schema as they are now. */
async function definitions(): Promise<readonly Definition[]> {
  return migrator.query<Definition>(`
    select p.proname as name, p.oid::regprocedure::text as signature, pg_get_functiondef(p.oid) as text
      from pg_proc p
     where p.pronamespace = '${test.schema}'::regnamespace and p.proname <> 'clock'
     order by p.oid`)
}

/** The same function with one more result column, as a later release may have it. */
function appended({ name, text }: Definition): string {
  if (name === 'enqueue') return text.replace('OUT created boolean', 'OUT created boolean, OUT later integer')
  if (name === 'poll')
    return text
      .replace('poll_interval interval)', 'poll_interval interval, later integer)')
      .replace(/v_queue\.poll_interval;/g, 'v_queue.poll_interval, 7;')
      .replace(/(null::timestamptz, null::timestamptz, null::interval)(\s*from claimed)/, '$1, 7$2')
  return text
}

/** One release: drops the functions and creates them under the same names, in one transaction. */
async function replace(functions: readonly Definition[], textOf: (old: Definition) => string): Promise<void> {
  await migrator.begin()
  for (const { signature } of functions) await migrator.query(`drop function ${signature}`)
  for (const old of functions) await migrator.query(textOf(old))
  await migrator.commit()
}

/** Producers and a consumer at work while `meanwhile` runs again and again. Gives what went wrong for the user. */
async function atWork(options: ConnectOptions, meanwhile: (round: number) => Promise<void>): Promise<unknown> {
  const dueq = test.another({ max: 4, ...options })
  const { name } = await test.queue({ lease: '10s', pollInterval: '200ms' })
  const queue = dueq.queue(name)
  const errors: string[] = []
  const enqueued = new Set<string>()
  const handled = new Map<string, number>()
  const consumer = queue.consume((message) => void handled.set(message.id, (handled.get(message.id) ?? 0) + 1))
  let isOver = false
  const produce = async (payload: number): Promise<void> => {
    while (!isOver) {
      try {
        if (payload === 0) enqueued.add((await queue.enqueue(payload)).id)
        else if (payload === 1) enqueued.add((await queue.enqueue(payload, { dedupKey: `${enqueued.size}` })).id)
        else for (const { id } of await queue.enqueueMany([{ payload }, { payload, priority: 1 }])) enqueued.add(id)
      } catch (error) {
        errors.push(String(error))
      }
      await delay(1)
    }
  }
  const producing = [0, 1, 2, 0, 1, 2].map(produce)
  const end = performance.now() + runMs
  for (let round = 0; performance.now() < end; round++) {
    await meanwhile(round)
    await delay(30)
  }
  isOver = true
  await Promise.all(producing)
  await expect.poll(() => [...enqueued].filter((id) => !handled.has(id)), { timeout: 10_000 }).toEqual([])
  await consumer.stop({ mode: 'drain', deadline: '10s' })
  expect(enqueued.size).toBeGreaterThan(10)
  const { ready, leased, lapsed, dead } = await queue.stats()
  await dueq.close()
  return { errors, handledTwice: [...handled].filter(([, count]) => count > 1), left: ready + leased + lapsed + dead }
}

const nothing = { errors: [], handledTwice: [], left: 0 }

it('functions dropped and created again, with a result column more or less: neither producers nor consumers notice', async () => {
  const all = await definitions()
  const isPart = (old: Definition): boolean => !['doctor', '_exactly', '_is_suspect'].includes(old.name)
  const some = all.filter(isPart)
  expect(
    await atWork({}, async (round) => {
      const isLater = round % 2 === 0
      const now = new Map((await definitions()).map((old) => [old.name, old]))
      await replace(
        some.map(({ name }) => now.get(name)!),
        ({ name }) => {
          const old = some.find((one) => one.name === name)!
          return isLater ? appended(old) : old.text
        },
      )
    }),
  ).toEqual(nothing)
})

it('tables that get and lose columns: the same', async () => {
  expect(
    await atWork({}, async (round) => {
      const change = round % 2 === 0 ? 'add column later integer' : 'drop column later'
      for (const table of ['messages', 'queues', 'dead_letters']) await migrator.query(`alter table ${table} ${change}`)
    }),
  ).toEqual(nothing)
})

it('migrate run again and again: the same', async () => {
  expect(await atWork({}, async () => void (await migrate({ url: test.url, schema: test.schema })))).toEqual(nothing)
})

it.each(['postgres.js', 'pg'])('the same on a pool of the caller (%s)', async (driver) => {
  const sql = postgres(test.url, { max: 3, onnotice: () => {} })
  const pool = new pg.Pool({ connectionString: test.url, max: 3 })
  const some = (await definitions()).filter(({ name }) =>
    ['enqueue', '_enqueue_many_plain', 'poll', 'ack_many'].includes(name),
  )
  expect(await atWork(driver === 'pg' ? { pool } : { sql }, () => replace(some, ({ text }) => text))).toEqual(nothing)
  await Promise.all([sql.end(), pool.end()])
})
