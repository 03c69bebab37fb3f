import { afterAll, beforeAll, expect, it } from 'vitest'
import { type Engine, startEngine } from './engine.js'

let engine: Engine
beforeAll(async () => {
  engine = await startEngine()
})
afterAll(() => engine.close())

async function filled(count: number): Promise<{ queue: string; ids: readonly string[] }> {
  const queue = await engine.queue(`lease => '1 hour'`)
  const rows = await engine.rows<{ id: string }>(
    `select id from dueq.enqueue_many($1, array(select to_jsonb(i) from generate_series(1, $2) i))`,
    [queue, count],
  )
  return { queue, ids: rows.map(({ id }) => id) }
}

const claim = 'select id, attempt from dueq.dequeue($1, $2)'

it('promise 3k: two sessions with open transactions claim disjoint messages, and neither waits', async () => {
  const { queue, ids } = await filled(20)
  await using other = await engine.session()
  await engine.begin()
  await other.begin()
  const claims = [
    ...(await engine.rows(claim, [queue, 6])),
    ...(await other.rows(claim, [queue, 8])),
    ...(await engine.rows(claim, [queue, 100])),
  ]
  expect(await other.rows(claim, [queue, 100])).toEqual([])
  await other.commit()
  await engine.commit()
  expect(claims).toEqual(ids.map((id) => ({ id, attempt: 1 })))
})

it('promise 3k: what a transaction claimed and rolled back goes to the other', async () => {
  const { queue, ids } = await filled(4)
  await using other = await engine.session()
  await other.begin()
  await other.rows(claim, [queue, 3])
  expect(await engine.rows(claim, [queue, 10])).toEqual([{ id: ids[3], attempt: 1 }])
  await other.rollback()
  expect(await engine.rows(claim, [queue, 10])).toEqual(ids.slice(0, 3).map((id) => ({ id, attempt: 1 })))
})

it('promise 3k: a message being cancelled or purged in an open transaction is passed over', async () => {
  const { queue, ids } = await filled(3)
  await using other = await engine.session()
  await other.begin()
  await other.rows('select dueq.cancel($1)', [ids[0]])
  await other.rows('select dueq.purge($1, max => 1)', [queue])
  expect(await engine.rows(claim, [queue, 10])).toHaveLength(1)
  await other.rollback()
  expect(await engine.rows(claim, [queue, 10])).toHaveLength(2)
})

it('promise 3k: eight sessions that drain 2,000 messages are handed each of them once', async () => {
  const { queue, ids } = await filled(2000)
  const sessions = await Promise.all(Array.from({ length: 8 }, () => engine.session()))
  const batches = await Promise.all(
    sessions.map(async (session, i) => {
      const claims: { readonly id: string; readonly attempt: number }[] = []
      for (;;) {
        const batch = await session.rows<{ id: string; attempt: number }>(claim, [queue, 5 + i])
        if (batch.length === 0) return claims
        claims.push(...batch)
        const busy = await session.rows<{ id: string; outcome: string }>(
          'select id, outcome from dueq.ack_many($1, $2)',
          [batch.map(({ id }) => id), batch.map(({ attempt }) => attempt)],
        )
        // A dequeue that comes upon a row just claimed by another locks it for the moment it takes to see that.
        for (const { id, outcome } of busy) {
          expect(outcome).toBe('busy')
          expect(await session.value<boolean>('select dueq.ack($1, 1)', [id])).toBe(true)
        }
      }
    }),
  )
  const claims = batches.flat()
  expect(claims.every(({ attempt }) => attempt === 1)).toBe(true)
  const byNumber = (a: string, b: string) => Number(a) - Number(b)
  expect(claims.map(({ id }) => id).sort(byNumber)).toEqual(ids)
  expect(batches.filter((batch) => batch.length > 0).length).toBeGreaterThan(1)
})

it('promise 3k: sessions that single-message consumers lease and settle in every way lose none', async () => {
  const { queue, ids } = await filled(300)
  await engine.rows(`select dueq.create_queue($1, backoff_base => '0')`, [queue])
  const sessions = await Promise.all(Array.from({ length: 4 }, () => engine.session()))
  const acked = await Promise.all(
    sessions.map(async (session) => {
      const mine: string[] = []
      for (;;) {
        const [message] = await session.rows<{ id: string; attempt: number }>(claim, [queue, 1])
        if (!message) return mine
        const { id, attempt } = message
        const verb = attempt >= 3 || Number(id) % 3 === 0 ? 'ack' : Number(id) % 3 === 1 ? 'nack' : 'release'
        const outcome = await session.value<boolean | string>(`select dueq.${verb}($1, $2)`, [id, attempt])
        expect(outcome).toBe(verb === 'nack' ? 'retry' : true)
        if (verb === 'ack') mine.push(id)
      }
    }),
  )
  // A session may find nothing while another one holds the rest for a moment, so one more looks at the end.
  for (const { id, attempt } of await engine.dequeue(queue, 1000)) {
    expect(await engine.value<boolean>('select dueq.ack($1, $2)', [id, attempt])).toBe(true)
    acked.push([id])
  }
  expect(new Set(acked.flat()).size).toBe(acked.flat().length)
  expect(acked.flat()).toHaveLength(ids.length)
})
