/**
 * The primary hangs, and comes back after its standby was promoted: as the primary it thinks it is, then as a standby.
 */
import { expect, it } from 'vitest'
import { startStandby } from '../../src/cli/embedded-standby.js'
import { freeze, load, outcome, startPair } from './pair.js'

it.skipIf(process.platform !== 'linux')(
  'promise 2: a primary that says nothing any more is left once another one is promoted, and whatever it comes back as, nobody gets stuck on it',
  async (test) => {
    await using pair = await startPair(test)
    const { primary, standby } = pair
    const handled: number[] = []
    let upCount = 0
    const dueq = pair.client({ onEvent: ({ type }) => void (type === 'listen.up' && upCount++) })
    await dueq.ensure([load])
    dueq.queue(load).consume(({ payload }) => void handled.push(payload))
    const delivers = async (payload: number, by = dueq): Promise<void> => {
      await expect.poll(() => outcome(by.queue(load).enqueue(payload)), { timeout: 15_000 }).toBe('created')
      await expect.poll(() => handled, { timeout: 15_000 }).toContain(payload)
    }
    await delivers(1)
    // All its connections will have a statement under way, and nothing but the other host tells that they wait for nothing.
    const busy = pair.client({ max: 2, timeout: '10m' })
    const both = () =>
      Promise.all(['a', 'b'].map((dedupKey) => outcome(busy.queue(load).enqueue(0, { dedupKey, delay: '1h' }))))
    await both()

    const thaw = freeze(primary)
    try {
      let ended: readonly string[] = []
      void both().then((outcomes) => {
        ended = outcomes
      })
      await standby.promote()
      await expect.poll(() => ended, { timeout: 15_000 }).toEqual(['database.unreachable', 'database.unreachable'])
      await expect.poll(both, { timeout: 15_000 }).toEqual(['created', 'created'])
      // Far below the deadline of statements, 30 s.
      await delivers(2)
      await expect.poll(() => upCount, { timeout: 15_000 }).toBeGreaterThan(1)
    } finally {
      thaw()
    }
    const late = pair.client()
    await delivers(3, late)
    await delivers(4)

    await primary.stop()
    const back = await startStandby(standby, { port: primary.port })
    try {
      await delivers(5, pair.client())
      await delivers(6)
      await standby.kill()
      await back.promote()
      await delivers(7, late)
      await delivers(8)
    } finally {
      await back.stop()
    }
  },
  90_000,
)
