import { afterAll, beforeAll, type ExpectStatic, it } from 'vitest'
import { startClient, type TestClient } from '../client/client.js'
import { expectClean, type Load, type LoadLine, startLoad } from './load.js'
import { startProxy, type TcpProxy } from './proxy.js'

let client: TestClient
beforeAll(async () => {
  client = await startClient()
})
afterAll(() => client.close())

const leaseMs = 2_000
const listening = { application: 'dueq listen' }

/** Two consumers behind the proxy, listening, under a load. */
async function startListening(proxy: TcpProxy): Promise<Load> {
  const { name: queue } = await client.queue({ lease: leaseMs, pollInterval: '200ms' })
  const { sql, schema } = client
  const load = await startLoad({
    sql,
    schema,
    queue,
    leaseMs,
    producer: client.anotherByUrl({ url: client.url }),
    rate: 50,
    consumers: [proxy.url, proxy.url],
    connect: { timeout: '30s' },
  })
  await load.listening(2)
  return load
}
const told = (load: Load, event: string): LoadLine[] => load.lines((line) => line.event === event)

/** How long after the instant each consumer told of its lost listener. */
async function reportedWithin(expect: ExpectStatic, load: Load, since: number): Promise<number[]> {
  await expect.poll(() => told(load, 'listen.lost').length, { timeout: 40_000 }).toBe(2)
  return told(load, 'listen.lost').map(({ at }) => at - since)
}

it.concurrent('promise 6: a listening connection that went silent is reported within 20 s; deliveries go on, and it comes back', async ({
  expect,
}) => {
  await using proxy = await startProxy(client.url)
  await using load = await startListening(proxy)
  const [frozen] = load.consumers
  const since = Date.now()
  proxy.freeze(listening)
  const within = await reportedWithin(expect, load, since)
  console.log(`LISTEN frozen: reported within ${within.join(' and ')} ms`)
  expect(Math.max(...within)).toBeLessThan(20_000)
  const claimed = await load.claimedAts()
  const gaps = claimed.slice(1).map((at, index) => at - claimed[index]!)
  expect(Math.max(...gaps)).toBeLessThan(2_000)
  await load.terminate(frozen!) // while it is frozen
  proxy.thaw()
  await expect.poll(() => told(load, 'listen.up').length, { timeout: 20_000 }).toBe(3)
  expectClean(await load.finish(), 'LISTEN frozen')
}, 90_000)

it.concurrent('a silent listener is reported within 20 s where the statements are silent too, and the process ends when told', async ({
  expect,
}) => {
  await using proxy = await startProxy(client.url)
  await using load = await startListening(proxy)
  const since = Date.now()
  proxy.freeze()
  const within = await reportedWithin(expect, load, since)
  console.log(`everything frozen: LISTEN reported within ${within.join(' and ')} ms`)
  expect(Math.max(...within)).toBeLessThan(20_000)
  await load.terminate(load.consumers[0]!)
  proxy.thaw()
  expectClean(await load.finish(), 'everything frozen')
}, 90_000)
