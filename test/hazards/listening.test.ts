// postgres.js 3.4.9: a listening connection that went silent is not noticed, because nothing is ever sent on it; and after a
// reconnect the `unlisten` of before does nothing. Where a naive test fails the driver is cured: a heartbeat of its own would
// make that of src/wakeup.ts superfluous except behind poolers, which LISTEN succeeds on and delivers nothing.
import { setTimeout as delay } from 'node:timers/promises'
import postgres from 'postgres'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { itListens, startClient, type TestClient } from '../client/client.js'
import { startProxy } from '../faults/proxy.js'

let client: TestClient
beforeAll(async () => {
  client = await startClient()
})
afterAll(() => client.close())

const listeners = () => client.sql`
  select pid from pg_stat_activity
   where query ilike ${`listen%${client.schema}%`} and pid <> pg_backend_pid()`

describe.concurrent('a listening connection that went silent', () => {
  it('naive: nobody is told, and nothing is heard', async ({ expect }) => {
    await using proxy = await startProxy(client.url)
    const closed: number[] = []
    const heard: string[] = []
    const sql = postgres(proxy.url, { onclose: (id) => closed.push(id), onnotice: () => {} })
    await sql.listen(`${client.schema}_naive`, (payload) => heard.push(payload))
    proxy.freeze()
    await client.sql.notify(`${client.schema}_naive`, 'news')
    await delay(3_000)
    expect({ heard, closed }).toEqual({ heard: [], closed: [] })
    await sql.end({ timeout: 0 })
  })

  it('promise 6: dueq notices within its heartbeat, polls, and listens again when the network is back', async ({
    expect,
  }) => {
    await using proxy = await startProxy(client.url)
    const events: string[] = []
    await using dueq = client.another({ listenUrl: proxy.url, onEvent: ({ type }) => events.push(type) })
    const { name } = await client.queue({ pollInterval: '1h' })
    let handledCount = 0
    await using _consumer = dueq.queue(name).consume(() => void handledCount++)
    await expect.poll(() => events).toContain('listen.up')
    proxy.freeze()
    await client.dueq.queue(name).enqueue({})
    await expect.poll(() => events, { timeout: 22_000, interval: 50 }).toContain('listen.lost')
    await expect.poll(() => handledCount).toBe(1)
    events.length = 0
    proxy.thaw()
    await expect.poll(() => events, { timeout: 20_000 }).toContain('listen.up')
  }, 50_000)
})

describe('after a reconnect', () => {
  it('naive: unlisten does nothing', async () => {
    const sql = postgres(client.url, { onnotice: () => {} })
    const heard: string[] = []
    let listenCount = 0
    const { unlisten } = await sql.listen(
      `${client.schema}_old`,
      (payload) => heard.push(payload),
      () => listenCount++,
    )
    await client.sql`
      select pg_terminate_backend(pid) from pg_stat_activity where query ilike ${`listen%${client.schema}_old%`}`
    await expect.poll(() => listenCount).toBe(2)
    await unlisten()
    await client.sql.notify(`${client.schema}_old`, 'news')
    await expect.poll(() => heard).toEqual(['news'])
    await sql.end({ timeout: 0 })
  })

  itListens('a closed client listens to nothing any more', async () => {
    const events: string[] = []
    const dueq = client.another({ onEvent: ({ type }) => events.push(type) })
    const { name } = await client.queue()
    dueq.queue(name).consume(() => {})
    await expect.poll(() => events).toContain('listen.up')
    const before = (await listeners()).map((row) => row['pid'])
    expect(before.length).toBeGreaterThan(0)
    await client.sql`select pg_terminate_backend(pid) from unnest(${before}::integer[]) as pid`
    await expect.poll(async () => (await listeners()).filter((row) => !before.includes(row['pid'])).length).not.toBe(0)
    await dueq.close()
    await expect.poll(listeners).toEqual([])
  })
})
