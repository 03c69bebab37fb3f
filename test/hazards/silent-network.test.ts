// postgres.js 3.4.9: a statement on a connection that went silent waits for good, and `cancel` of a statement that was not
// sent yet hangs the connection that was opened for it. Where a naive test fails the driver is cured; the deadlines of
// src/pool.ts stay all the same, for a server that does not answer.
import { setTimeout as delay } from 'node:timers/promises'
import postgres from 'postgres'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { codeOf, startClient, type TestClient } from '../client/client.js'
import { startProxy } from '../faults/proxy.js'

let client: TestClient
beforeAll(async () => {
  client = await startClient()
})
afterAll(() => client.close())

const isUnanswered = (answer: Promise<unknown>, ms: number): Promise<boolean> =>
  Promise.race([
    answer.then(
      () => false,
      () => false,
    ),
    delay(ms, true),
  ])

describe('on a connection that went silent', () => {
  it('naive: a statement is never answered, and never fails', async () => {
    await using proxy = await startProxy(client.url)
    const sql = postgres(proxy.url, { max: 1, connect_timeout: 1, idle_timeout: 1, onnotice: () => {} })
    await sql`select 1`
    proxy.freeze()
    expect(await isUnanswered(sql`select 1`, 2_500)).toBe(true)
    await sql.end({ timeout: 0 })
  })

  it('a statement of dueq fails at its deadline, and later ones get through when the network is back', async () => {
    await using proxy = await startProxy(client.url)
    const dueq = client.anotherByUrl({ url: proxy.url, max: 2, timeout: '500ms' })
    await dueq.check()
    proxy.freeze()
    expect(await codeOf(dueq.check())).toBe('timeout')
    expect(await codeOf(dueq.check())).toBe('timeout')
    proxy.thaw()
    await expect.poll(() => codeOf(dueq.check())).toBe('none')
  })
})

describe('what is given up before it was sent', () => {
  it('naive: a cancelled statement takes the connection with it', async () => {
    const sql = postgres(client.url, { max: 1, onnotice: () => {} })
    const query = sql`select 1`.execute()
    await Promise.resolve()
    query.cancel()
    expect(await codeOf(query)).toBe('57014')
    expect(await isUnanswered(sql`select 1`, 1_500)).toBe(true)
    await sql.end({ timeout: 0 })
  })

  it('an aborted dequeue leaves the connection to the next statement', async () => {
    const { name } = await client.queue()
    const dueq = client.anotherByUrl({ max: 1 })
    const abort = new AbortController()
    const dequeue = dueq.queue(name).dequeue({ wait: '10s', signal: abort.signal })
    await Promise.resolve()
    abort.abort()
    await codeOf(dequeue)
    expect(await codeOf(dueq.check())).toBe('none')
  })
})
