import { afterAll, beforeAll, expect, it } from 'vitest'
import { codeOf, startClient, type TestClient } from '../client/client.js'
import { startRefusing } from '../support/fake-server.js'
import { startRole } from '../support/role.js'

let test: TestClient
beforeAll(async () => {
  test = await startClient()
  await test.sql.unsafe(`
    create table ${test.schema}.trouble (sqlstate text, verb text);
    create function ${test.schema}.trouble() returns trigger language plpgsql set search_path = ${test.schema} as $$
    declare v_code text := (select sqlstate from trouble where verb = tg_op);
    begin
      if v_code is not null then raise exception using errcode = v_code, message = 'trouble ' || v_code; end if;
      return null;
    end $$;
    create trigger trouble after insert or update or delete on ${test.schema}.messages
      for each statement execute function ${test.schema}.trouble();`)
})
afterAll(() => test.close())

const verbs = ['INSERT', 'UPDATE', 'DELETE'] as const

/** From now on these verbs fail on the table of messages. */
async function trouble(sqlState: string | undefined, failing: readonly string[] = verbs): Promise<void> {
  const name = test.sql(test.schema)
  await test.sql.begin(async (tx) => {
    await tx`delete from ${name}.trouble`
    if (sqlState)
      for (const verb of failing) await tx`insert into ${name}.trouble (sqlstate, verb) values (${sqlState}, ${verb})`
  })
}

const codes = [
  ['53100', 'database.full'],
  ['53200', 'database.unreachable'],
  ['53300', 'database.unreachable'],
  ['57P03', 'database.unreachable'],
  ['58030', 'database.error'],
  ['XX000', 'database.error'],
  ['XX001', 'database.error'],
  ['25006', 'database.read_only'],
  ['57P05', 'database.unreachable'],
  ['23514', 'database.error'],
  ['23505', 'database.error'],
  ['40001', 'transaction.conflict'],
  ['40P01', 'transaction.conflict'],
  ['57014', 'timeout'],
  ['55P03', 'lock.timeout'],
] as const

it.each(codes)(
  'promise 2: %s: producers get %s and nothing is stored, consumers go on when it has passed, none is lost',
  async (sqlState, code) => {
    const queue = await test.queue({ lease: '5s', pollInterval: '100ms' })
    const handled: string[] = []
    const consumer = queue.consume(({ id }) => void handled.push(id))
    const before = await queue.enqueue(1)
    await expect.poll(() => handled, { timeout: 10_000 }).toEqual([before.id])

    await trouble(sqlState)
    expect(await codeOf(queue.enqueue(2))).toBe(code)
    expect(await codeOf(queue.enqueue(2, { dedupKey: 'k' }))).toBe(code)
    expect(await codeOf(queue.enqueueMany([{ payload: 2 }, { payload: 3, priority: 3 }]))).toBe(code)
    await trouble(sqlState, ['UPDATE', 'DELETE'])
    const during = await queue.enqueue(4)
    await trouble(undefined)
    await expect.poll(() => handled, { timeout: 10_000 }).toEqual([before.id, during.id])
    await consumer.stop({ mode: 'drain', deadline: '5s' })
    expect(await queue.stats()).toMatchObject({ delayed: 0, ready: 0, leased: 0, lapsed: 0, dead: 0 })
  },
)

it.each(codes)(
  'promise 2: %s when messages are settled: each is settled once it has passed, and handled once',
  async (sqlState) => {
    const queue = await test.queue({ lease: '10s', pollInterval: '100ms', backoff: { base: '0ms', max: '0ms' } })
    const handled: string[] = []
    const errors: unknown[] = []
    let inHand = 0
    let letGo = (): void => {}
    const gate = new Promise<void>((resolve) => {
      letGo = resolve
    })
    const own = test.another({ onEvent: (event) => event.type === 'consumer.error' && errors.push(event) })
    const consumer = own.queue(queue.name).consume(async ({ id, payload, attempt }) => {
      handled.push(id)
      inHand++
      await gate
      if (payload === 'fails' && attempt === 1) throw new Error('no')
    })
    const ids = (await queue.enqueueMany([{ payload: 'acked' }, { payload: 'acked' }, { payload: 'fails' }])).map(
      ({ id }) => id,
    )
    await expect.poll(() => inHand, { timeout: 10_000 }).toBe(3)
    await trouble(sqlState)
    letGo()
    await expect.poll(() => errors.length, { timeout: 10_000 }).toBeGreaterThan(3)
    await trouble(undefined)
    await expect.poll(() => handled.length, { timeout: 10_000 }).toBe(4)
    await consumer.stop({ mode: 'drain', deadline: '5s' })
    expect(handled.slice().sort()).toEqual([...ids, ids[2]].sort())
    expect(await queue.stats()).toMatchObject({ delayed: 0, ready: 0, leased: 0, lapsed: 0, dead: 0 })
  },
)

it.each([
  ['57P03', 'the database system is starting up', 'database.unreachable'],
  ['53300', 'sorry, too many clients already', 'database.unreachable'],
  ['28P01', 'password authentication failed', 'database.credentials'],
  ['3D000', 'database "database" does not exist', 'database.not_found'],
  ['28000', 'no pg_hba.conf entry', 'database.credentials'],
])('a server that refuses connections with %s (%s): producers get %s', async (sqlState, text, code) => {
  await using server = await startRefusing(sqlState, text)
  const dueq = test.another({ url: server.url, listen: false })
  expect(await codeOf(dueq.queue('q').enqueue(1))).toBe(code)
  expect(await codeOf(dueq.check())).toBe(code)
  await dueq.close()
})

it('promise 2: a role whose default is read only, as after a fail-over: a clear error, nothing stored, and on it goes', async () => {
  await using role = await startRole(test)
  const dueq = test.another({ url: role.url, listen: false, max: 1 })
  const { name } = await test.queue({ pollInterval: '100ms' })
  await role.alter('set default_transaction_read_only = on')
  const error = await dueq
    .queue(name)
    .enqueue(1)
    .catch((thrown) => thrown)
  expect([error.code, error.details.sqlState]).toEqual(['database.read_only', '25006'])
  expect(error.message).toContain('read-only transaction')
  let handledCount = 0
  const consumer = dueq.queue(name).consume(() => void handledCount++)
  const producing = test.dueq.queue(name)
  await producing.enqueue(2)
  await role.alter('set default_transaction_read_only = off')
  await expect.poll(() => handledCount, { timeout: 10_000 }).toBe(1)
  expect(consumer.status.state).toBe('running')
  await dueq.close()
})

it('a role with too few connections: clear errors where one more is wanted, and everything is delivered', async () => {
  await using role = await startRole(test, 'connection limit 2')
  const dueq = test.another({ url: role.url, max: 4 })
  const { name } = await test.queue({ pollInterval: '100ms' })
  const queue = dueq.queue(name)
  const handled = new Set<string>()
  const consumer = queue.consume(({ id }) => void handled.add(id), { concurrency: 20 })
  const enqueued: string[] = []
  const failed: string[] = []
  await Promise.all(
    Array.from({ length: 50 }, async (_, i) => {
      for (const end = performance.now() + 12_000; performance.now() < end; ) {
        const result = await queue.enqueue(i, { dedupKey: `${i}` }).catch((error) => error)
        if (result.id) return enqueued.push(result.id)
        failed.push(result.code)
        await new Promise((resolve) => setTimeout(resolve, 20))
      }
      return 0
    }),
  )
  expect(enqueued).toHaveLength(50)
  expect(failed.filter((code) => code !== 'database.unreachable')).toEqual([])
  await expect.poll(() => enqueued.filter((id) => !handled.has(id)), { timeout: 10_000 }).toEqual([])
  await consumer.stop({ mode: 'drain', deadline: '10s' })
  expect(await test.dueq.queue(name).stats()).toMatchObject({ ready: 0, leased: 0, lapsed: 0, dead: 0 })
  await dueq.close()
})
