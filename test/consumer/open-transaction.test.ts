import { setTimeout as delay } from 'node:timers/promises'
import { expect, it } from 'vitest'
import { startClient } from '../client/client.js'
import { closeSessions, openSession, type Session } from '../support/sessions.js'

it('handlers that throw while their transaction is open stall nothing, and are retried once it is rolled back', async () => {
  await using client = await startClient()
  const queue = await client.queue<string>({
    lease: '2s',
    pollInterval: '300ms',
    backoff: { base: '10ms', max: '10ms' },
  })
  const sessions: Session[] = []
  let abortedCount = 0
  await using _consumer = queue.consume(async (message) => {
    if (message.payload === 'long') {
      await delay(2_500)
      if (message.signal.aborted) abortedCount++
    } else if (message.payload === 'bad' && message.attempt === 1) {
      const session = await openSession()
      sessions.push(session)
      await session.begin()
      await message.in((text, params) => session.query(text, params)).ack()
      throw new Error('gave up, with its transaction open')
    }
  })
  await queue.enqueueMany(['long', ...Array(6).fill('bad')].map((payload) => ({ payload })))
  await expect.poll(() => sessions).toHaveLength(6)
  await delay(200)
  const start = performance.now()
  await queue.enqueue('short')
  await expect.poll(() => client.events.filter(({ type }) => type === 'message.acked')).toHaveLength(1)
  expect(performance.now() - start).toBeLessThan(1_500)

  await Promise.all(sessions.map((session) => session.rollback()))
  await expect
    .poll(() => client.events.filter(({ type }) => type === 'message.acked'), { timeout: 5_000 })
    .toHaveLength(8)
  const outcomes = client.events.flatMap((event) => (event.type === 'message.failed' ? [event.outcome] : []))
  expect(outcomes).toEqual(Array(6).fill('retry'))
  expect(abortedCount).toBe(0)
  await closeSessions()
})
