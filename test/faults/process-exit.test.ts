import { afterAll, beforeAll, expect, it } from 'vitest'
import { startClient, type TestClient } from '../client/client.js'
import { killAll, startProcess } from '../support/processes.js'

let client: TestClient
beforeAll(async () => {
  client = await startClient()
})
afterAll(async () => {
  killAll()
  await client.close()
})

it('a process ends by itself after close, and 10,000 messages leave no timer and no listener behind', async () => {
  const queue = await client.queue()
  const child = startProcess('test/faults/fixtures/finite.mjs', [], {
    ...client.env,
    DUEQ_QUEUE: queue.name,
  })
  type Line = { handled: number; mostTimers: number; timers: number; warnings: string[]; closedAt: number }
  const line = await child.waitForLine<Line>(({ handled }) => handled > 0, 15_000)
  expect(line).toMatchObject({ handled: 10_000, timers: 0, warnings: [] })
  expect(line.mostTimers).toBeLessThan(50)
  expect(await child.exited).toEqual({ code: 0, signal: null })
  expect(Date.now() - line.closedAt).toBeLessThan(2_500)
  expect(await queue.stats()).toMatchObject({ ready: 0, leased: 0, lapsed: 0, dead: 0 })
})
