import { afterAll, beforeAll, expect, it } from 'vitest'
import { connect } from '../../src/index.js'
import { startClosing } from '../support/fake-server.js'
import { codeOf, codeThrown, startClient, type TestClient } from './client.js'

let test: TestClient
beforeAll(async () => {
  test = await startClient()
})
afterAll(() => test.close())

it('connect, handles and close open no connection: the first is opened by the first use', async () => {
  await using server = await startClosing()
  const dueq = connect(server.url, { timeout: '300ms' })
  dueq.queue('q')
  await new Promise((resolve) => setTimeout(resolve, 100))
  expect(server.connectionCount).toBe(0)
  expect(await codeOf(dueq.check())).toBe('timeout')
  expect(server.connectionCount).toBeGreaterThan(0)
  await dueq.close()
})

it('the schema option says where dueq lives; clients of two schemas do not meet', async () => {
  await using other = await startClient()
  const [here, there] = [await test.queue(), await other.queue()]
  expect(here.name).toBe(there.name)
  await here.enqueue('here')
  expect(await there.dequeue()).toEqual([])
  const [message] = await here.dequeue()
  expect(message!.payload).toBe('here')
  await message!.ack()
})

it('two clients in one process share the messages and nothing else', async () => {
  const queue = await test.queue<number>({ lease: '1m' })
  const [a, b] = [test.another({ name: 'a' }), test.another({ name: 'b' })]
  await queue.enqueueMany([{ payload: 1 }, { payload: 2 }])
  const [first] = await a.queue<number>(queue.name).dequeue()
  const [second] = await b.queue<number>(queue.name).dequeue()
  expect([first!.payload, second!.payload]).toEqual([1, 2])
  const holders =
    await test.sql`select leased_by from ${test.sql(test.schema)}.messages where leased_by is not null order by id`
  expect(holders.map((row) => row['leased_by'])).toEqual(['a', 'b'])
  await a.close()
  await second!.ack()
  expect(await codeOf(first!.ack())).toBe('client.closed')
})

it('a closed client refuses everything with client.closed, and closes again without complaint', async () => {
  const dueq = test.another()
  const queue = dueq.queue((await test.queue()).name)
  await queue.enqueue(1)
  const report = await dueq.close()
  expect(report).toEqual({ finished: 0, released: 0, stillRunning: 0 })
  expect(await dueq.close()).toEqual(report)
  expect(codeThrown(() => dueq.queue('q'))).toBe('client.closed')
  expect(codeThrown(() => dueq.in(test.sql))).toBe('client.closed')
  for (const use of [
    queue.enqueue(1),
    queue.dequeue(),
    dueq.stats(),
    dueq.check(),
    dueq.ensure([]).then(() => dueq.doctor()),
  ])
    expect(await codeOf(use)).toBe('client.closed')
})

it('await using closes the client at the end of the block', async () => {
  const name = (await test.queue()).name
  let kept: ReturnType<typeof connect>
  {
    await using dueq = connect({ url: test.url, schema: test.schema })
    await dueq.queue(name).enqueue(1)
    kept = dueq
  }
  expect(await codeOf(kept.stats())).toBe('client.closed')
})

it('check says which schema is there, and how far away the database is', async () => {
  const check = await test.dueq.check()
  expect(check.schemaVersion).toBeGreaterThanOrEqual(102)
  expect(check.roundTripMs).toBeGreaterThan(0)
  expect(check.isListening).toBe(false)
})
