/**
 * A hint makes looks short, and hides nothing for longer than promised. The clock stands still but for `travel`, so every
 * look here takes no time, and the bound is the poll interval: 5 s.
 */
import { afterAll, beforeAll, expect, it } from 'vitest'
import { type Engine, type EngineSession, startEngine } from './engine.js'

let engine: Engine
let other: EngineSession
beforeAll(async () => {
  engine = await startEngine()
  other = await engine.session()
})
afterAll(() => engine.close())

type Asked = {
  readonly max?: number
  readonly sleep?: string | null
  readonly listening?: boolean
  readonly wokenFrom?: string | null
}

/** Polls of one consumer, each with the hint of the last. */
class Looks {
  hint: string | null = null
  /** Milliseconds from the look to the next. */
  next: number | null = null
  readonly queue: string

  constructor(queue: string) {
    this.queue = queue
  }

  async look({ max = 10, sleep = null, listening = false, wokenFrom = null }: Asked = {}): Promise<readonly string[]> {
    const rows = await engine.rows<{ id: string | null; hint: string; next: number | null }>(
      `select id, next_hint as hint, (extract(epoch from next_ready_at - polled_at) * 1000)::float8 as next
         from dueq.poll($1, $2, hint => $3, listening => $4, woken_from => $5, sleep => $6) order by priority, ready_since, id`,
      [this.queue, max, this.hint, listening, wokenFrom, sleep],
    )
    const last = rows.find(({ id }) => id === null)!
    this.hint = last.hint
    this.next = last.next
    return rows.flatMap(({ id }) => (id === null ? [] : [id]))
  }
}

const now = () => engine.value('select dueq.clock()::text')

/** A consumer that has looked for a while: its looks begin at the end of the last one. */
async function warm(settings = ''): Promise<Looks> {
  const looks = new Looks(await engine.queue(settings))
  for (let i = 0; i < 5; i++) {
    await looks.look()
    await engine.travel('1 second')
  }
  await looks.look()
  await engine.travel('200 milliseconds')
  return looks
}

/** Enqueues in a transaction of another session, which commits when told. */
async function enqueueOpen(queue: string): Promise<{ readonly id: string; readonly at: string }> {
  await other.begin()
  const id = await other.value(`select id from dueq.enqueue($1, '1')`, [queue])
  return { id, at: await now() }
}

it('promise 6h: what is enqueued now is found by the next look', async () => {
  const looks = await warm()
  const ids = [await engine.enqueue(looks.queue), await engine.enqueue(looks.queue)]
  expect(await looks.look()).toEqual(ids)
})

it('promise 6h: a message whose transaction commits 5 s after its insert, and tells nobody, is found within a poll interval', async () => {
  const looks = await warm()
  const { id } = await enqueueOpen(looks.queue)
  for (let ms = 0; ms < 5_000; ms += 200) {
    await engine.travel('200 milliseconds')
    expect(await looks.look()).toEqual([])
  }
  await other.commit()
  let waitedMs = 0
  let hidden = 0
  while ((await looks.look()).length === 0) {
    hidden++
    const sleepMs = Math.min(looks.next ?? 5_000, 700)
    waitedMs += sleepMs
    await engine.travel(`${sleepMs} milliseconds`)
    expect(waitedMs).toBeLessThanOrEqual(5_000)
  }
  expect(hidden, 'looks that the hint kept short').toBeGreaterThan(0)
  expect(await engine.value(`select leased_by is not null from dueq.message_states where id = $1`, [id])).toBe(true)
})

it('promise 6h: for whoever sleeps shorter than the poll interval the bound is its own sleep', async () => {
  const looks = await warm(`poll_interval => '1 hour'`)
  const sleep = '3 seconds'
  await looks.look({ sleep })
  const { id } = await enqueueOpen(looks.queue)
  await engine.travel('2 seconds')
  await looks.look({ sleep })
  expect(looks.next).toBeLessThanOrEqual(3_000)
  await other.commit()
  await engine.travel('1 second')
  expect(await looks.look({ sleep: null })).toEqual([])
  expect(await looks.look({ sleep })).toEqual([id])
})

it('promise 6h: whoever sleeps is told to look at everything within a poll interval of the last such look', async () => {
  const looks = await warm()
  await engine.travel('2 seconds')
  await looks.look()
  const nextMs = looks.next!
  const { id } = await enqueueOpen(looks.queue)
  await engine.travel('1 second')
  await looks.look()
  await other.commit()
  expect(nextMs).toBeLessThan(5_000)
  await engine.travel(`${looks.next} milliseconds`)
  expect(await looks.look()).toEqual([id])
})

it('promise 6h: one that commits within a second is found half a second later', async () => {
  const looks = await warm()
  const { id } = await enqueueOpen(looks.queue)
  await engine.travel('900 milliseconds')
  expect(await looks.look()).toEqual([])
  await other.commit()
  await engine.travel('500 milliseconds')
  expect(await looks.look()).toEqual([id])
})

it('promise 6h: one that commits within 50 ms is found by the next look', async () => {
  const looks = await warm()
  const { id } = await enqueueOpen(looks.queue)
  await engine.travel('50 milliseconds')
  expect(await looks.look()).toEqual([])
  await other.commit()
  expect(await looks.look()).toEqual([id])
})

it.each([10, 600])(
  'promise 6h: a notification finds what committed late at once, %i ms after the last look',
  async (ms) => {
    const looks = await warm(`poll_interval => '1 hour'`)
    const { id, at } = await enqueueOpen(looks.queue)
    await engine.travel('4 seconds')
    await looks.look()
    await other.commit()
    expect(await looks.look()).toEqual([])
    await engine.travel(`${ms} milliseconds`)
    expect(await looks.look({ wokenFrom: at })).toEqual([id])
  },
)

it('promise 6h: also where a smaller priority fills the claim that was told', async () => {
  const looks = await warm()
  await engine.enqueue(looks.queue, 'priority => -1')
  await engine.travel('6 seconds')
  expect(await looks.look()).toHaveLength(1)
  await engine.travel('600 milliseconds')
  await looks.look()
  const { id, at } = await enqueueOpen(looks.queue)
  await engine.travel('3 seconds')
  await looks.look()
  await other.commit()
  await engine.enqueue(looks.queue, 'priority => -1')
  expect(await looks.look({ max: 1, wokenFrom: at })).not.toEqual([id])
  expect(await looks.look()).toEqual([id])
})

it('promise 6h: a look at everything that ends in a smaller priority is made up for in the others', async () => {
  const looks = await warm(`poll_interval => '1 hour'`)
  await engine.enqueue(looks.queue, 'priority => -1')
  await looks.look() // the hint does not fit, so this is one
  const { id } = await enqueueOpen(looks.queue)
  await engine.travel('10 seconds')
  await looks.look()
  await other.commit()
  expect(await looks.look()).toEqual([])
  await engine.travel('50 minutes')
  await engine.enqueue(looks.queue, 'priority => -1')
  expect(await looks.look({ max: 1 })).not.toEqual([id]) // again one, and full before it came to the message
  expect(await looks.look()).toContain(id)
})

it('promise 6h: a message that was ready and locked by somebody else is found within half a second of the unlock', async () => {
  const looks = await warm(`lease => '1 second', poll_interval => '1 hour'`)
  const id = await engine.enqueue(looks.queue)
  await looks.look()
  await other.begin()
  await other.rows('select dueq.ack($1, 1)', [id])
  await engine.travel('1 second')
  for (let i = 0; i < 40; i++) {
    expect(await looks.look()).toEqual([])
    expect(looks.next).toBeLessThanOrEqual(1_000)
    await engine.travel('100 milliseconds')
  }
  await other.rollback()
  await engine.travel('500 milliseconds')
  expect(await looks.look()).toEqual([id])
})

it.each(['rolls back', 'crashes with a lease shorter than the poll interval'])(
  'promise 6h: a message that another session was claiming during a near look is found within a poll interval where that %s',
  async (end) => {
    const looks = await warm(`poll_interval => '5 seconds'`)
    while (looks.hint!.split(',')[10] !== '1') await looks.look({ listening: true })
    const id = await engine.enqueue(looks.queue)
    await other.begin()
    await other.rows(`select id from dueq.dequeue($1, lease => '1 second')`, [looks.queue])
    const wokenFrom = await now()
    await engine.travel('200 milliseconds')
    expect(await looks.look({ listening: true, wokenFrom })).toEqual([])
    await (end === 'rolls back' ? other.rollback() : other.commit())
    let sleptMs = 0
    const found: string[] = []
    while (found.length === 0 && sleptMs <= 5_000) {
      sleptMs += looks.next!
      await engine.travel(`${looks.next} milliseconds`)
      found.push(...(await looks.look({ listening: true })))
    }
    expect(found).toEqual([id])
    expect(sleptMs).toBeLessThanOrEqual(5_000)
  },
)

/** Looks that have seen others claim in front: 400 messages, of which another session has let the first 50 go again. */
async function warmInCrowd(): Promise<{ readonly looks: Looks; readonly ids: readonly string[] }> {
  const looks = await warm()
  const ids = await engine.rows<{ id: string }>(
    `select id from dueq.enqueue_many($1, array(select '1'::jsonb from generate_series(1, 400))) order by ordinality`,
    [looks.queue],
  )
  await other.begin()
  await other.rows('select id from dueq.messages where id = any($1) for update', [ids.slice(0, 50).map(({ id }) => id)])
  expect(await looks.look({ max: 100 })).toEqual(ids.slice(50, 150).map(({ id }) => id))
  await other.rollback()
  return { looks, ids: ids.map(({ id }) => id) }
}

it('promise 6h: where others claim in front, full claims pass over what somebody has touched for half a second, and no longer', async () => {
  const { looks, ids } = await warmInCrowd()
  expect(await looks.look({ max: 100 })).toEqual(ids.slice(150, 250))
  await engine.travel('500 milliseconds')
  expect(await looks.look({ max: 100 })).toEqual([...ids.slice(0, 50), ...ids.slice(250, 300)])
})

it('promise 6h: a claim that has room for more has what somebody has touched, too', async () => {
  const { looks, ids } = await warmInCrowd()
  expect(await looks.look({ max: 350 })).toEqual([...ids.slice(0, 50), ...ids.slice(150)])
})

it('promise 6h: nothing between the messages of full claims is passed over', async () => {
  const looks = await warm()
  const { id } = await enqueueOpen(looks.queue)
  const rest = []
  for (let i = 0; i < 6; i++) {
    await engine.travel('10 milliseconds')
    rest.push(await engine.enqueue(looks.queue))
  }
  await engine.travel('1 second')
  expect(await looks.look({ max: 2 })).toEqual(rest.slice(0, 2))
  await other.commit()
  expect(await looks.look({ max: 2 })).toEqual([id, rest[2]])
  expect(await looks.look({ max: 4 })).toEqual(rest.slice(3))
})

it('promise 6h: messages behind one that lapsed are not passed over', async () => {
  const looks = await warm(`lease => '1 second'`)
  const lapsed = await engine.enqueue(looks.queue)
  await looks.look()
  await engine.travel('1100 milliseconds')
  const rest = [await engine.enqueue(looks.queue), await engine.enqueue(looks.queue)]
  await engine.travel('3 seconds')
  expect(await looks.look()).toEqual([lapsed])
  expect(await looks.look()).toEqual(rest)
})

it('promise 6h: a hint from a time to come is not obeyed: the clock of the database was set back', async () => {
  const looks = await warm()
  await engine.travel('-1 hour')
  const id = await engine.enqueue(looks.queue)
  await engine.travel('1 second')
  expect(await looks.look()).toEqual([id])
})

it('promise 6h: nor is that of another queue, or of other priorities', async () => {
  const looks = await warm()
  const id = await engine.enqueue(looks.queue, `at => dueq.clock() - interval '1 hour'`)
  const stranger = await warm()
  looks.hint = stranger.hint
  expect(await looks.look()).toEqual([id])
  await looks.look()
  const old = await engine.enqueue(looks.queue, `at => dueq.clock() - interval '1 hour', priority => 7`)
  expect(await looks.look()).toEqual([old])
})

it.each([
  '',
  'x',
  '{}',
  '{1}',
  '{{1,2},{3,4}}',
  '{1,2',
  '{null}',
  '(1,2)',
  '{99999999999999999999}',
  `{${'9'.repeat(18)}}`,
  'overflowing',
  'negative',
])('promise 6h: a hint of nonsense is no error and hides nothing: %s', async (nonsense) => {
  const looks = await warm()
  const numbers = looks.hint!.slice(1, -1).split(',')
  const but = (value: string) => `{${[...numbers.slice(0, 2), ...numbers.slice(2).map(() => value)]}}`
  looks.hint =
    nonsense === 'overflowing' ? but('9'.repeat(18)) : nonsense === 'negative' ? but(`-${'9'.repeat(18)}`) : nonsense
  const id = await engine.enqueue(looks.queue, `at => dueq.clock() - interval '1 hour'`)
  expect(await looks.look()).toEqual([id])
})

it('promise 6h: without a hint everything is looked at', async () => {
  const looks = await warm()
  const id = await engine.enqueue(looks.queue, `at => dueq.clock() - interval '1 hour'`)
  expect(await looks.look()).toEqual([])
  expect(await engine.dequeue(looks.queue, 5)).toEqual([{ id, attempt: 1 }])
})

it('promise 6h: a paused queue is looked at whole when it goes on', async () => {
  const looks = await warm()
  await engine.rows('select dueq.pause_queue($1)', [looks.queue])
  const id = await engine.enqueue(looks.queue, `at => dueq.clock() - interval '1 hour'`)
  await engine.travel('20 seconds')
  expect(await looks.look()).toEqual([])
  expect(looks.next).toBeNull()
  await engine.rows('select dueq.resume_queue($1)', [looks.queue])
  expect(await looks.look()).toEqual([id])
})

it('promise 6d: what is known of the next message is remembered for a second, or until a notification', async () => {
  const looks = await warm()
  // It announces that it sleeps, and transactions of other tests end that may not know of it.
  while (looks.hint!.split(',')[10] !== '1') await looks.look({ listening: true })
  await engine.enqueue(looks.queue, `delay => '3 seconds'`)
  await engine.travel('1 second')
  await looks.look({ listening: true })
  expect(looks.next).toBe(2_000)
  await engine.enqueue(looks.queue, `delay => '1500 milliseconds'`)
  await engine.travel('100 milliseconds')
  await looks.look({ listening: true })
  expect(looks.next, 'not told of the second').toBe(1_900)
  await looks.look({ listening: true, wokenFrom: await now() })
  expect(looks.next, 'told').toBe(1_400)
  await engine.travel('200 milliseconds')
  await engine.enqueue(looks.queue, `delay => '1 second'`)
  await engine.travel('800 milliseconds')
  await looks.look({ listening: true })
  expect(looks.next, 'a second after the search').toBe(200)
})

it('promise 6d: who does not listen looks again after that second', async () => {
  const looks = await warm()
  await engine.travel('1 second')
  await looks.look()
  await engine.enqueue(looks.queue, `delay => '1500 milliseconds'`)
  await engine.travel('100 milliseconds')
  await looks.look()
  expect(looks.next).toBe(900)
  await engine.travel('900 milliseconds')
  await looks.look()
  expect(looks.next).toBe(500)
})

it('promise 6h: what a full look was told of beside what it claimed is found by the next one', async () => {
  const looks = await warm(`poll_interval => '1 hour'`)
  await engine.enqueue(looks.queue, `delay => '400 milliseconds'`)
  await engine.enqueue(looks.queue)
  const wokenFrom = await now()
  expect(await looks.look({ max: 1, wokenFrom })).toHaveLength(1)
  await engine.travel('100 milliseconds')
  expect(await looks.look()).toEqual([])
  expect(looks.next).toBe(300)
})

it('promise 6h: a message that is due in decades takes no look its hint', async () => {
  const looks = new Looks(await engine.queue())
  await engine.enqueue(looks.queue, `delay => '350000 hours'`)
  const wholeAt = () => looks.hint!.slice(1, -1).split(',')[2]
  await looks.look()
  const first = wholeAt()
  await engine.travel('100 milliseconds')
  await looks.look()
  expect(wholeAt(), 'when a look last began at the beginning').toBe(first)
})
