// postgres.js 3.4.9: `end` says goodbye and waits for the answer, which a silent network never brings; and a connection that
// waits to be tried again, as that of `listen` always does in an outage, is tried after the end, and stays. Both keep the
// process alive. Where the naive tests fail the driver is cured: then src/cut-off.ts is no longer needed.
import { setTimeout as delay } from 'node:timers/promises'
import { afterAll, beforeAll, describe, it } from 'vitest'
import { startClient, type TestClient } from '../client/client.js'
import { type TcpProxy as Network, startProxy } from '../faults/proxy.js'
import { killAll, startProcess } from '../support/processes.js'

let client: TestClient
let queue: string
beforeAll(async () => {
  client = await startClient()
  queue = (await client.queue()).name
})
afterAll(async () => {
  killAll()
  await client.close()
})

type Outage = { readonly begin: (network: Network) => Promise<void>; readonly end: (network: Network) => Promise<void> }
/** The server is gone, and back after the close: long enough that a connection waits to be tried again. */
const refused: Outage = {
  async begin(network) {
    await network.refuse()
    network.cut()
    await delay(500)
  },
  end: (network) => network.accept(),
}
const silent: Outage = {
  async begin(network) {
    network.freeze()
  },
  async end() {},
}

/** True where the process has ended some seconds after it closed everything in the outage. */
async function endsAfterClose(subject: 'naive' | 'dueq', outage: Outage): Promise<boolean> {
  await using proxy = await startProxy(client.url)
  const child = startProcess('test/hazards/fixtures/closing.mjs', [], {
    DUEQ_URL: proxy.url,
    DUEQ_TEST_SCHEMA: client.schema,
    DUEQ_QUEUE: queue,
    SUBJECT: subject,
  })
  await child.waitForLine((line) => line === 'open')
  await outage.begin(proxy)
  child.send('close')
  await child.waitForLine((line) => line === 'closed')
  await outage.end(proxy)
  const hasEnded = await Promise.race([child.exited.then(() => true), delay(3_000, false)])
  await child.kill()
  return hasEnded
}

describe.concurrent.each([
  ['while the server refuses connections', refused],
  ['on a network that is silent', silent],
])('closed %s', (_, outage) => {
  it('naive: what the driver leaves behind keeps the process alive', { timeout: 60_000 }, async ({ expect }) => {
    let hasEnded = true
    // Where the server is back later than the last try, nothing is left behind.
    for (let tries = 0; hasEnded && tries < 5; tries++) hasEnded = await endsAfterClose('naive', outage)
    expect(hasEnded).toBe(false)
  })

  it('nothing of dueq keeps the process alive', async ({ expect }) => {
    expect(await endsAfterClose('dueq', outage)).toBe(true)
  })
})
