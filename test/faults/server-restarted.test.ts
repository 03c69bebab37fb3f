import { setTimeout as delay } from 'node:timers/promises'
import postgres from 'postgres'
import { expect, it } from 'vitest'
import { connect, defineQueue } from '../../src/index.js'
import { migrate } from '../../src/migrate.js'
import { startOwnServer } from '../support/own-server.js'
import { expectClean, loadSeconds, startLoad } from './load.js'

const rounds = Math.max(1, Math.floor(loadSeconds / 3))

it(
  'promise 2: under 500 messages/s a server is killed and started again; deliveries go on within 2 s of that, nothing is lost',
  async (test) => {
    const leaseMs = 2_000
    await using server = await startOwnServer(test)
    const { url } = server
    await migrate({ url })
    const queue = defineQueue('load', { lease: leaseMs })
    await using producer = connect(url, { onEvent: () => {} })
    await producer.ensure([queue])
    const sql = postgres(url, { max: 1, onnotice: () => {} })
    const restarts: { readonly killedAt: number; readonly acceptsAt: number }[] = []
    try {
      const options = { sql, schema: 'dueq', queue: queue.name, leaseMs, producer, rate: 500 }
      await using load = await startLoad({ ...options, consumers: [url, url] })
      for (let round = 0; round < rounds; round++) {
        await delay(1_000)
        await server.kill()
        const killedAt = Date.now()
        await delay(500)
        await server.restart()
        restarts.push({ killedAt, acceptsAt: Date.now() })
        await delay(2_000)
      }
      const verdict = await load.finish()
      const claims = await load.claimedAts() // by the clock of the server, which is this host's
      const pausesMs = claims.slice(1).map((at, index) => at - claims[index]!)
      const recoveredMs = restarts.map(({ killedAt, acceptsAt }) =>
        Math.max(0, Math.round((claims.find((at) => at > killedAt + 100) ?? Number.POSITIVE_INFINITY) - acceptsAt)),
      )
      const longestPausesMs = restarts.map(({ acceptsAt }, round) => {
        const isAfter = (at: number): boolean => at > acceptsAt + recoveredMs[round]! && at < acceptsAt + 2_000
        return Math.round(Math.max(0, ...pausesMs.filter((_, index) => isAfter(claims[index]!))))
      })
      console.log(
        `delivering again ${recoveredMs.join(', ')} ms after the server accepted connections; ` +
          `longest pauses in the 2 s after that: ${longestPausesMs.join(', ')} ms`,
      )
      expect(Math.max(...recoveredMs)).toBeLessThan(2_000)
      expectClean(verdict, 'server killed')
    } finally {
      await sql.end({ timeout: 1 })
    }
  },
  60_000 + rounds * 10_000,
)
