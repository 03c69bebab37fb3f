/**
 * What every connection must do, whatever driver it comes from and whatever its settings do to names and values: the life
 * of a message from enqueue to each way out, and what operators see. `contract.test.ts` runs it over all variants.
 */
import { afterAll, beforeAll, expect, it } from 'vitest'
import type { ConnectOptions, Dueq } from '../../src/index.js'
import { codeOf, startClient, type TestClient } from './client.js'

/** What a variant gives: the options of `connect`, and how to end what it opened. */
export type Variant = (url: string) => { readonly options: ConnectOptions; readonly end?: () => Promise<unknown> }

export function contract(variant: Variant): void {
  let test: TestClient
  let dueq: Dueq
  let end: (() => Promise<unknown>) | undefined
  beforeAll(async () => {
    test = await startClient()
    const made = variant(test.dueqUrl)
    dueq = test.anotherByUrl(made.options)
    end = made.end
  })
  afterAll(async () => {
    await test.close()
    await end?.()
  })
  const queue = async <Payload = unknown>() => dueq.queue<Payload>((await test.queue({ lease: '1m' })).name)

  it('promise 2: a message arrives with every field right', async () => {
    const reminders = await queue()
    const payload = {
      snake_case: [{ inner_key: 'Grüße "x" \\' }],
      camelCase: null,
      big: '9007199254740993',
      when: '2031-01-31',
    }
    const headers = { trace_id: 'a,b', at: '2031-01-31T09:00:00Z' }
    const at = '2020-01-31T09:00:00.123456Z'
    const { id, created } = await reminders.enqueue(payload, { at, headers, priority: -7 })
    expect([typeof id, created]).toEqual(['string', true])
    const [message] = await reminders.dequeue()
    expect(message).toMatchObject({ id, attempt: 1, payload, headers, priority: -7, failures: 0, lapses: 0 })
    expect(message!.dueAt.toISOString()).toBe('2020-01-31T09:00:00.123Z')
    expect(message!.latenessMs).toBeGreaterThan(150_000_000_000)
    expect(Math.abs(message!.leaseEndsAt.getTime() - message!.enqueuedAt.getTime() - 60_000)).toBeLessThan(5_000)
    await message!.ack()
    expect(await reminders.stats()).toMatchObject({ ready: 0, leased: 0 })
  })

  it('promise 1: a delay is exact, and many messages are answered in order', async () => {
    const reminders = await queue<number>()
    const enqueued = await reminders.enqueueMany([
      { payload: 1 },
      { payload: 2, delay: '1h' },
      { payload: 3, dedupKey: 'k"' },
      { payload: 4, dedupKey: 'k"' },
    ])
    expect(enqueued.map(({ created }) => created)).toEqual([true, true, true, false])
    expect(enqueued[3]!.id).toBe(enqueued[2]!.id)
    const messages = await reminders.dequeue({ max: 10 })
    expect(messages.map(({ payload }) => payload).toSorted()).toEqual([1, 3])
  })

  it('promise 3: every verb works, and a stale one is refused', async () => {
    const reminders = await queue()
    const { id } = await reminders.enqueue(null)
    const next = async () => (await reminders.dequeue())[0]!
    expect(await (await next()).nack(new Error('e'), { delay: 0 })).toBe('retry')
    await (await next()).release()
    const stale = await next()
    expect(stale).toMatchObject({ id, attempt: 3, failures: 1, payload: null })
    expect((await stale.extend('2m')).getTime()).toBeGreaterThan(stale.leaseEndsAt.getTime())
    await test.travel('2 minutes')
    const message = await next()
    expect(await codeOf(stale.ack())).toBe('lease.lost')
    await message.deadLetter('why', 'because')
    expect(await reminders.stats()).toMatchObject({ dead: 1, ready: 0, leased: 0 })
    const [redriven] = await reminders.redrive()
    expect(redriven!.deadId).toBe(id)
    await dueq.reschedule(redriven!.id, { at: '2031-01-31T09:00:00Z' })
    expect(await reminders.stats()).toMatchObject({
      delayed: 1,
      nextReadyAt: expect.stringMatching(/^2031-01-31T09:00:00/),
    })
    await dueq.cancel(redriven!.id)
    expect(await codeOf(dueq.cancel(redriven!.id))).toBe('message.not_found')
  })

  it('a consumer takes what is enqueued, by notification or by polling', async () => {
    const name = (await test.queue({ pollInterval: '200ms' })).name
    const seen: unknown[] = []
    const all = new Promise<void>((resolve) => {
      const consumer = dueq.queue<number>(name).consume(async ({ payload }) => {
        seen.push(payload)
        if (seen.length === 20) resolve(consumer.stop().then(() => {}))
      })
    })
    await dueq.queue<number>(name).enqueueMany(Array.from({ length: 20 }, (_, payload) => ({ payload })))
    await all
    expect(seen.toSorted((a, b) => Number(a) - Number(b))).toEqual(Array.from({ length: 20 }, (_, i) => i))
    expect(await dueq.queue(name).stats()).toMatchObject({ ready: 0, leased: 0 })
  })

  it('operators get numbers, settings and advice', async () => {
    const reminders = await queue()
    await reminders.enqueue(1)
    expect(await reminders.pause()).toBe(true)
    const stats = (await dueq.stats()).find((row) => row.queue === reminders.name)
    expect(stats).toMatchObject({ ready: 1, delayed: 0, leased: 0, lapsed: 0, dead: 0 })
    expect(stats!.readyForMs).toBeGreaterThanOrEqual(0)
    expect(stats!.pausedAt).toMatch(/^\d{4}-\d\d-\d\dT/)
    expect(await codeOf(reminders.drop())).toBe('queue.not_empty')
    expect(await reminders.purge()).toBe(1)
    await reminders.drop()
    expect(await codeOf(reminders.enqueue(1))).toBe('queue.unknown')
    expect((await dueq.doctor()).every(({ check, ok }) => check.length > 0 && typeof ok === 'boolean')).toBe(true)
    expect((await dueq.check()).schemaVersion).toBeGreaterThanOrEqual(102)
  })
}
