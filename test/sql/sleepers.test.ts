/** Whoever sleeps has said so before, and has looked for what was enqueued by those who could not know of it. */
import { setTimeout as delay } from 'node:timers/promises'
import { afterAll, beforeAll, expect, it } from 'vitest'
import { type Engine, type EngineSession, startEngine } from './engine.js'

let engine: Engine
let other: EngineSession
beforeAll(async () => {
  engine = await startEngine()
  other = await engine.session()
})
afterAll(() => engine.close())

type Look = { readonly ids: readonly string[]; readonly next: number | null }

type Listener = ((max?: number) => Promise<Look>) & { readonly isSettled: () => boolean }

/** A consumer that listens. `next` is in milliseconds from the look. */
function listener(queue: string): Listener {
  let hint: string | null = null
  const look = async (max = 10): Promise<Look> => {
    const rows = await engine.rows<{ id: string | null; hint: string; next: number | null }>(
      `select id, next_hint as hint, (extract(epoch from next_ready_at - polled_at) * 1000)::float8 as next
         from dueq.poll($1, $2, hint => $3, listening => true)`,
      [queue, max, hint],
    )
    const last = rows.pop()!
    hint = last.hint
    return { ids: rows.map(({ id }) => id!), next: last.next }
  }
  // The one number of a hint that a test must know.
  return Object.assign(look, { isSettled: () => hint?.split(',')[10] === '1' })
}

/** For how many milliseconds somebody wants to be woken; null: nobody does. */
const announced = (queue: string) =>
  engine.value<number | null>(
    `select (extract(epoch from nullif(greatest(sleepers_until, dueq.clock()), dueq.clock()) - dueq.clock()) * 1000)::float8
       from dueq.queues where name = $1`,
    [queue],
  )

/** Looks until those who could not know that it sleeps are over: other files of tests have transactions of their own. */
async function fallAsleep(look: Listener): Promise<void> {
  while (!look.isSettled()) {
    await look()
    await delay(10)
  }
}

it('promise 6i: a look that finds nothing announces that it sleeps, for four poll intervals, and looks again at once', async () => {
  const queue = await engine.queue(`poll_interval => '2 seconds'`)
  const look = listener(queue)
  expect(await announced(queue)).toBeNull()
  expect(await look()).toEqual({ ids: [], next: 0 })
  expect(await announced(queue)).toBe(8_000)
})

it('promise 6i: who does not listen announces nothing', async () => {
  const queue = await engine.queue()
  expect(await engine.dequeue(queue)).toEqual([])
  await engine.rows('select id from dueq.poll($1)', [queue])
  expect(await announced(queue)).toBeNull()
})

it('promise 6i: a look that finds something announces nothing and looks again at once, for nobody would wake it', async () => {
  const queue = await engine.queue()
  const look = listener(queue)
  const id = await engine.enqueue(queue)
  expect(await look()).toEqual({ ids: [id], next: 0 })
  expect(await announced(queue)).toBeNull()
  expect((await look()).ids).toEqual([])
  expect(await announced(queue)).toBe(20_000)
})

it('promise 6i: the announcement is renewed while two poll intervals of it are left', async () => {
  const queue = await engine.queue()
  const look = listener(queue)
  await fallAsleep(look)
  await engine.travel('9 seconds')
  await look()
  expect(await announced(queue)).toBeLessThanOrEqual(11_000)
  await engine.travel('2 seconds')
  await look()
  expect(await announced(queue)).toBe(20_000)
})

it('promise 6i: with one that ran out everything begins anew', async () => {
  const queue = await engine.queue()
  const look = listener(queue)
  await fallAsleep(look)
  await engine.travel('1 minute')
  expect(await look()).toEqual({ ids: [], next: 0 })
  expect(await announced(queue)).toBe(20_000)
})

it('promise 6i: where the row of the queue is locked the look is repeated 50 ms later', async () => {
  const queue = await engine.queue()
  const look = listener(queue)
  await other.begin()
  await other.rows(`select dueq.create_queue($1, lease => '1 minute')`, [queue])
  expect(await look()).toEqual({ ids: [], next: 50 })
  await other.commit()
  expect(await look()).toEqual({ ids: [], next: 0 })
})

it('promise 6i: what is known to be ready before that is not kept waiting by it', async () => {
  const queue = await engine.queue()
  const look = listener(queue)
  const id = await engine.enqueue(queue, `delay => '20 milliseconds'`)
  await other.begin()
  await other.rows(`select dueq.create_queue($1, lease => '1 minute')`, [queue])
  expect(await look()).toEqual({ ids: [], next: 20 })
  await engine.travel('20 milliseconds')
  expect((await look()).ids).toEqual([id])
  await other.rollback()
})

it('promise 6i: nor does it lengthen the pause before the next look for open transactions', async () => {
  const queue = await engine.queue()
  const look = listener(queue)
  await fallAsleep(look)
  await engine.travel('21 seconds')
  await look() // announces anew
  await using third = await engine.session()
  await third.begin()
  await third.rows('select pg_current_xact_id()')
  await engine.travel('11 seconds')
  await other.begin()
  await other.rows(`select dueq.create_queue($1, lease => '1 minute')`, [queue])
  expect(await look()).toEqual({ ids: [], next: 10 })
  await other.rollback()
  await third.rollback()
})

it('promise 6i: while a transaction is open that may not know of it, looks are repeated, at growing distances', async () => {
  const queue = await engine.queue(`poll_interval => '100 milliseconds'`)
  const look = listener(queue)
  await other.begin()
  const id = await other.value(`select id from dueq.enqueue($1, '1')`, [queue])
  expect(await look()).toEqual({ ids: [], next: 0 })
  const pauses = []
  for (let i = 0; i < 5; i++) pauses.push((await look()).next)
  expect(pauses).toEqual([10, 20, 40, 80, 100])
  await other.commit()
  expect((await look()).ids).toEqual([id])
})

it('promise 6i: each consumer does so, also where another has announced it', async () => {
  const queue = await engine.queue()
  await fallAsleep(listener(queue))
  await other.begin()
  await other.rows(`select id from dueq.enqueue($1, '1')`, [queue])
  const second = listener(queue)
  expect((await second()).next).toBe(10)
  await other.rollback()
  await fallAsleep(second)
  expect((await second()).next).toBeGreaterThan(1_000)
})

it('promise 6i: an announcement that ran out and was made again by another is noticed', async () => {
  const queue = await engine.queue()
  const [first, second] = [listener(queue), listener(queue)]
  await fallAsleep(first)
  await engine.travel('21 seconds')
  await second() // announces
  await other.begin()
  await other.rows(`select id from dueq.enqueue($1, '1')`, [queue])
  expect((await first()).next).toBe(10)
  await other.rollback()
})

it('promise 6i: on a paused queue too, so that the end of the pause wakes', async () => {
  const queue = await engine.queue()
  await engine.rows('select dueq.pause_queue($1)', [queue])
  const look = listener(queue)
  expect(await look()).toEqual({ ids: [], next: 0 })
  expect(await announced(queue)).toBe(20_000)
})

it('promise 6i: who is told of one message after the other, and never finds nothing, stays announced', async () => {
  const queue = await engine.queue()
  const look = listener(queue)
  await fallAsleep(look)
  for (let second = 0; second < 30; second++) {
    await engine.travel('1 second')
    const id = await engine.enqueue(queue)
    expect((await look()).ids).toEqual([id])
    expect(await announced(queue)).not.toBeNull()
  }
})

it('promise 6h: an instant from before 1970, or beyond what there is, tells a look to begin at the beginning', async () => {
  const queue = await engine.queue()
  const id = await engine.enqueue(queue, `at => '4714-11-24 00:00:00+00 BC'`)
  const rows = await engine.rows<{ id: string | null }>(
    `select id from dueq.poll($1, woken_from => '4714-11-24 00:00:00+00 BC')`,
    [queue],
  )
  expect(rows[0]!.id).toBe(id)
  for (const instant of ['infinity', '-infinity', '294276-12-31 00:00:00+00'])
    await engine.rows('select id from dueq.poll($1, woken_from => $2)', [queue, instant])
})
