import { afterAll, beforeAll, expect, it, vi } from 'vitest'
import { defineQueue } from '../../src/index.js'
import { startClient, type TestClient } from './client.js'

let test: TestClient
beforeAll(async () => {
  test = await startClient()
})
afterAll(() => test.close())

const stored = async (queue: string) => {
  const [row] = await test.sql`
    select lease::text, max_attempts, backoff_base::text, backoff_max::text, poll_interval::text
      from ${test.sql(test.schema)}.queue_settings where queue = ${queue}`
  return row
}
const defaults = {
  lease: '00:00:30',
  max_attempts: 20,
  backoff_base: '00:00:01',
  backoff_max: '00:15:00',
  poll_interval: '00:00:05',
}

it('ensure creates queues with the documented defaults, and again changes nothing', async () => {
  const queues = [defineQueue('plain-1'), defineQueue('plain-2')]
  await test.dueq.ensure(queues)
  await test.dueq.ensure(queues)
  expect(await stored('plain-1')).toEqual(defaults)
  expect(await stored('plain-2')).toEqual(defaults)
})

it('ensure stores the declared settings, and leaves those it is not given', async () => {
  await test.dueq.ensure([
    defineQueue('set', {
      lease: '1m',
      maxAttempts: 3,
      backoff: { base: '250ms', max: '1h' },
      pollInterval: 100,
    }),
  ])
  const first = {
    lease: '00:01:00',
    max_attempts: 3,
    backoff_base: '00:00:00.25',
    backoff_max: '01:00:00',
    poll_interval: '00:00:00.1',
  }
  expect(await stored('set')).toEqual(first)
  await test.dueq.ensure([defineQueue('set', { lease: '12h' })])
  expect(await stored('set')).toEqual({ ...first, lease: '12:00:00' })
})

it('a handle by itself writes nothing', async () => {
  test.dueq.queue(defineQueue('only-a-handle', { lease: '1m' }))
  expect(await stored('only-a-handle')).toBeUndefined()
})

it('settings in code that differ from the stored ones are told once, by queue.differs', async () => {
  await test.dueq.ensure([defineQueue('changed', { lease: '30s', maxAttempts: 5 })])
  const declared = test.dueq.queue(defineQueue('changed', { lease: '45s', maxAttempts: 5, pollInterval: '1s' }))
  for (let i = 0; i < 2; i++) await declared.consume(async () => {}).stop()
  expect(await test.event('queue.differs')).toEqual({
    type: 'queue.differs',
    queue: 'changed',
    differences: [
      { setting: 'leaseMs', declared: 45_000, stored: 30_000 },
      { setting: 'pollIntervalMs', declared: 1_000, stored: 5_000 },
    ],
  })
  expect(test.events.filter(({ type }) => type === 'queue.differs')).toHaveLength(1)
  expect((await stored('changed'))!['lease']).toBe('00:00:30')
})

it('without a listener queue.differs is a process warning, once', async () => {
  await test.dueq.ensure([defineQueue('warned', { maxAttempts: 5 })])
  const warn = vi.spyOn(process, 'emitWarning').mockImplementation(() => {})
  const queue = test.another({ onEvent: undefined }).queue(defineQueue('warned', { maxAttempts: 6 }))
  for (let i = 0; i < 2; i++) await queue.consume(async () => {}).stop()
  await vi.waitFor(() => expect(warn).toHaveBeenCalled())
  const calls = warn.mock.calls.map(([text, options]) => ({ text: String(text), options }))
  warn.mockRestore()
  expect(calls).toHaveLength(1)
  expect(calls[0]!.text).toContain('maxAttempts 5 instead of 6')
  expect(calls[0]!.options).toEqual({ code: 'DUEQ_QUEUE_DIFFERS' })
})
