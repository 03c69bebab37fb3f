/** Whatever the order in which sessions do it, one statement after the other: all orders are played, on the real SQL. */
import pg from 'pg'
import { afterAll, beforeAll, expect, inject, it } from 'vitest'
import { type Engine, type EngineSession, startEngine } from '../sql/engine.js'
import { playAll, type Scene } from './interleave.js'
import { mutate, mutations } from './mutate.js'
import { type Run, scenes } from './scenes.js'

let engine: Engine
let sessions: readonly EngineSession[]
let observer: EngineSession
let listener: pg.Client
let all: readonly Scene<Run>[]
let total = 0
beforeAll(async () => {
  engine = await startEngine()
  sessions = await Promise.all([engine.session(), engine.session(), engine.session()])
  observer = await engine.session()
  // Where the gate is shut, an enqueue stops between what it reads and what it writes.
  await engine.rows(`
    create function dueq.gate() returns trigger language plpgsql as $$
    begin perform pg_advisory_xact_lock_shared(7); return new; end $$`)
  await engine.rows('create trigger gate before insert on dueq.messages for each row execute function dueq.gate()')
  listener = new pg.Client({ connectionString: inject('databaseUrl') })
  await listener.connect()
  const counts = new Map<string, number>()
  listener.on('notification', ({ payload = '' }) => {
    const queue = payload.slice(0, payload.lastIndexOf(' '))
    counts.set(queue, (counts.get(queue) ?? 0) + 1)
  })
  await listener.query(`listen "${engine.schema}"`)
  const heard = async (queue: string): Promise<number> => {
    await listener.query('select 1') // what was sent before arrives before its answer
    return counts.get(queue) ?? 0
  }
  all = scenes({ engine, heard })
})
afterAll(async () => {
  console.log(`${total} interleavings played`)
  await listener.end()
  await engine.close()
})

const titles = [
  'promise 6: a transaction enqueues while a consumer falls asleep',
  'promise 6: a transaction with an old snapshot enqueues while a consumer falls asleep',
  'promise 6: an enqueue is held up before its insert while a consumer falls asleep',
  'promise 6: two consumers fall asleep beside a transaction that enqueues',
  'promise 3: two claims of the same messages, one of which is rolled back',
  'promise 3: two claims of the same messages',
  'promise 3: a late ack in a transaction, the lapse, and the next claim with its ack',
  'promise 3: a late ack that rides in a look, the lapse, and the next claim with its ack',
  'promise 3: a nack, a late ack of the same attempt, and the next claim',
  'promise 5: an extension, the lapse, and the next claim with its ack',
]

const playTitled = async (title: string) => {
  const scene = all.find((found) => title.endsWith(`: ${found.title}`) || found.title === title)!
  const outcome = await playAll(scene, sessions, observer)
  total += outcome.count
  return outcome
}

it.each(titles)('%s, in all interleavings', async (title) => {
  const { broken, count, waited } = await playTitled(title)
  console.log(`${title}: ${count} interleavings, in ${waited} somebody waited for a lock`)
  expect(broken).toBeUndefined()
  expect(count).toBeGreaterThan(1)
})

it.each(mutations.map((mutation) => [mutation.name, mutation] as const))(
  'an interleaving shows it where %s',
  async (_, mutation) => {
    const mend = await mutate(engine, mutation)
    try {
      // Transactions of other tests on this server are waited for like any other, and may keep a consumer from falling asleep.
      let broken: Awaited<ReturnType<typeof playTitled>>['broken']
      for (let tries = 0; broken === undefined && tries < 5; tries++) ({ broken } = await playTitled(mutation.scene))
      expect(broken?.problems).toHaveLength(1)
    } finally {
      await mend()
    }
  },
)
