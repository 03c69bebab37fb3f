import { setTimeout as delay } from 'node:timers/promises'
import { afterAll, afterEach, beforeAll, expect } from 'vitest'
import { itListens as it, startClient, type TestClient } from '../client/client.js'
import { killAll, startProcess, type TestProcess } from '../support/processes.js'

let client: TestClient
beforeAll(async () => {
  client = await startClient()
})
afterEach(killAll)
afterAll(() => client.close())

type Started = { readonly started: string; readonly attempt: number; readonly leaseEndsAt: number; readonly at: number }

function startConsumer(queue: string, holdMs: number): TestProcess {
  return startProcess('test/faults/fixtures/consumer.mjs', [], {
    ...client.env,
    DUEQ_QUEUE: queue,
    HOLD_MS: String(holdMs),
  })
}

const startsOf = (process: TestProcess) =>
  process.lines.filter((line): line is Started => typeof line === 'object' && line !== null && 'started' in line)

it('promise 5: what a killed consumer held is redelivered by an idle one when the leases end, by nothing but the clock', async () => {
  const queue = await client.queue({ lease: '2s', pollInterval: '1h' })
  const victim = startConsumer(queue.name, 60_000)
  await victim.waitForLine<{ event?: string }>(({ event }) => event === 'listen.up')
  await queue.enqueueMany(Array.from({ length: 50 }, (_, payload) => ({ payload })))
  await expect.poll(() => startsOf(victim).length, { timeout: 5_000 }).toBe(50)
  const idle = startConsumer(queue.name, 0)
  await idle.waitForLine<{ event?: string }>(({ event }) => event === 'listen.up')
  await delay(500) // within these the victim has extended its leases
  expect(startsOf(idle)).toHaveLength(0)
  await victim.kill('SIGKILL')
  const ends = new Map(
    (
      await client.sql`
      select id::text, extract(epoch from ready_at)::float * 1000 as end from ${client.sql(client.schema)}.messages`
    ).map((row) => [row['id'] as string, row['end'] as number]),
  )
  expect(ends.size).toBe(50)
  await expect.poll(() => startsOf(idle).length, { timeout: 10_000, interval: 20 }).toBe(50)
  const late = startsOf(idle).map(({ started, at }) => at - ends.get(started)!)
  console.log(`redelivered after the lease end: at most ${Math.max(...late).toFixed(0)} ms`)
  expect(new Set(startsOf(idle).map(({ started }) => started)).size).toBe(50)
  expect(startsOf(idle).every(({ attempt }) => attempt === 2)).toBe(true)
  expect(Math.min(...late)).toBeGreaterThan(-5) // Date.now() is whole milliseconds
  expect(Math.max(...late)).toBeLessThan(5_000)
  await expect.poll(() => queue.stats()).toMatchObject({ leased: 0, lapsed: 0, ready: 0, dead: 0 })
})

it('promise 3: a process that was stopped beyond its lease finds it lost; another handles the message once more', async () => {
  const queue = await client.queue({ lease: '1s', pollInterval: '1h' })
  const frozen = startConsumer(queue.name, 300)
  await frozen.waitForLine<{ event?: string }>(({ event }) => event === 'listen.up')
  const { id } = await queue.enqueue({})
  await frozen.waitForLine<Started>(({ started }) => started === id)
  process.kill(frozen.pid, 'SIGSTOP')
  const other = startConsumer(queue.name, 0)
  await other.waitForLine<{ settled?: string; code?: string }>(({ code }) => code === 'acked')
  process.kill(frozen.pid, 'SIGCONT')
  const settled = await frozen.waitForLine<{ settled?: string }>(({ settled }) => settled === id)
  expect(settled).toMatchObject({ attempt: 1, isAborted: true, code: 'lease.lost' })
  expect(frozen.lines).toContainEqual({ event: 'lease.lost', id })
  expect(startsOf(frozen)).toHaveLength(1)
  expect(startsOf(other)).toMatchObject([{ started: id, attempt: 2 }])
  frozen.send('stop')
  other.send('stop')
  expect(await Promise.all([frozen.exited, other.exited])).toMatchObject([{ code: 0 }, { code: 0 }])
})
