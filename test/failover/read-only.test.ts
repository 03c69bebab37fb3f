/**
 * A primary that takes no writes because a setting says so, as before a planned switch, or where a disk is full.
 */
import { expect, it } from 'vitest'
import { openSession } from '../support/sessions.js'
import { load, outcome, rejection, startPair } from './pair.js'

it('a primary that is read-only by a setting says so, and is left as soon as another one is promoted', async (test) => {
  await using pair = await startPair(test)
  const events: unknown[] = []
  const handled: number[] = []
  const dueq = pair.client({
    onEvent: (event) => void (event.type === 'consumer.error' && events.push(event.retryMs)),
  })
  await dueq.ensure([load])
  dueq.queue(load).consume(({ payload }) => void handled.push(payload))
  await dueq.queue(load).enqueue(1)
  await expect.poll(() => handled).toContain(1)

  await using session = await openSession(pair.primary.url)
  const readOnly = async (value: 'on' | 'off'): Promise<void> => {
    await session.query(`alter system set default_transaction_read_only = ${value}`)
    await session.query('select pg_reload_conf()')
  }
  await readOnly('on')
  await expect.poll(() => outcome(dueq.queue(load).enqueue(2, { dedupKey: 'two' }))).toBe('database.read_only')
  const error = await rejection(dueq.queue(load).enqueue(2))
  expect(error).toMatchObject({ isOutcomeUnknown: false, details: { isStandby: false, sqlState: '25006' } })
  expect(error.message).toContain('default_transaction_read_only')
  await expect.poll(() => events).toContainEqual(expect.toSatisfy((retryMs: number) => retryMs >= 750))

  await readOnly('off')
  await expect.poll(() => outcome(dueq.queue(load).enqueue(3))).toBe('created')
  await expect.poll(() => handled).toContain(3)

  await readOnly('on')
  await expect.poll(() => outcome(dueq.queue(load).enqueue(4, { dedupKey: 'four' }))).toBe('database.read_only')
  await pair.standby.promote()
  const promoted = await openSession(pair.standby.url)
  await promoted.query(`alter system set default_transaction_read_only = off`)
  await promoted.query('select pg_reload_conf()')
  await promoted.close()
  await expect.poll(() => outcome(dueq.queue(load).enqueue(5)), { timeout: 10_000 }).toBe('created')
  await expect.poll(() => handled, { timeout: 10_000 }).toContain(5)
}, 60_000)
