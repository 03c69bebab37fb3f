/**
 * Does what a script says, and handles the messages: what happens to them goes into a journal, as the log checker wants it.
 */
import { setTimeout as delay } from 'node:timers/promises'
import type { JournalRecord } from '../../src/cli/journal.js'
import type { ConnectOptions, Consumer, Dueq, Message } from '../../src/index.js'
import type { TestClient } from '../client/client.js'
import type { TcpProxy } from '../faults/proxy.js'
import { openSession } from '../support/sessions.js'
import type { Act, Draft } from './script.js'
import type { Watch } from './watch.js'

export type Payload = Pick<Draft, 'does' | 'workMs'> & { readonly ref: string }

/** What may go wrong in a script without being wrong: the message was gone, in work, or its transaction met another. */
export const isExpected =
  /^(message\.(not_found|leased)|lock\.timeout|transaction\.conflict|lease\.lost|consumer\.stopped)$/

export type Journal = ReturnType<typeof createJournal>

export function createJournal(errors: string[]) {
  const records: JournalRecord[] = []
  const settled = (id: string, attempt: number, how: 'acked' | 'retried' | 'dead' | 'released'): void => {
    records.push({ type: 'settled', id, attempt, how, at: new Date().toISOString() })
  }
  return {
    records,
    settled,
    event(event: Parameters<NonNullable<ConnectOptions['onEvent']>>[0]): void {
      if (event.type === 'message.acked') settled(event.id, event.attempt, 'acked')
      else if (event.type === 'message.released') settled(event.id, event.attempt, 'released')
      else if (event.type === 'message.failed' && event.outcome === 'retry') settled(event.id, event.attempt, 'retried')
      else if (event.type === 'message.failed' && event.outcome === 'dead') settled(event.id, event.attempt, 'dead')
      else if (event.type === 'consumer.error' && !isExpected.test(event.error.code)) errors.push(String(event.error))
    },
  }
}

type Parts = {
  readonly test: TestClient
  readonly proxy: TcpProxy
  readonly clients: readonly Dueq[]
  readonly watch: Watch
  /** How many consumers each queue has that stay for now. */
  readonly served: Map<string, number>
  readonly journal: Journal
  readonly names: readonly string[]
  readonly leaseMs: number
}

export function createActor({
  test,
  proxy,
  clients,
  watch,
  served,
  journal: { records, settled },
  names,
  leaseMs,
}: Parts) {
  const consumers = new Set<Consumer>()
  /** Cancelled, or redriven under a new id. */
  const gone = new Set<string>()
  /** Ids given by redrive: messages of their own, with the payload of another. */
  const redriven = new Set<string>()
  /** By queue: what was enqueued last comes first. */
  const recent = new Map(names.map((name) => [name, [] as { readonly id: string; readonly ref: string }[]]))
  let refCount = 0

  const dueAt = (delayMs: number): string => new Date(Math.floor(watch.databaseMs + delayMs)).toISOString()
  const enqueued = (queue: string, ref: string, id: string | null, at: string, isCommitted: boolean): void => {
    records.push({ type: 'enqueued', ref, id, dueAt: at, outcome: isCommitted ? 'committed' : 'failed' })
    if (id !== null && isCommitted) recent.get(queue)!.unshift({ id, ref })
  }
  const itemOf = ({ does, workMs, delayMs, priority, dedupKey }: Draft) => ({
    ref: `r${refCount++}`,
    at: dueAt(delayMs),
    payload: (ref: string): Payload => ({ ref, does, workMs }),
    options: { delay: delayMs, priority, ...(dedupKey === null ? {} : { dedupKey }) },
  })

  const handle = async (message: Message<Payload>): Promise<void> => {
    const { id, attempt, payload } = message
    records.push({
      type: 'claimed',
      id,
      attempt,
      consumer: '',
      at: new Date(message.leaseEndsAt.getTime() - leaseMs).toISOString(),
      dueAt: message.dueAt.toISOString(),
      leaseEndsAt: message.leaseEndsAt.toISOString(),
      latenessMs: message.latenessMs,
      ...(redriven.has(id) ? {} : { ref: payload.ref }),
    })
    if (payload.workMs > 0) await delay(payload.workMs)
    const does = attempt > 1 ? 'return' : payload.does
    const how = { throw: 'retried', nack: 'retried', 'ack and roll back': 'retried', release: 'released', deadLetter: 'dead' } as const // biome-ignore format: one line is enough
    records.push({ type: 'settling', id, attempt, how: does in how ? how[does as keyof typeof how] : 'acked' })
    if (does === 'throw') throw new Error('as told')
    if (does === 'ack') await message.ack()
    if (does === 'nack') settled(id, attempt, (await message.nack('as told')) === 'dead' ? 'dead' : 'retried')
    if (does === 'release') await message.release().then(() => settled(id, attempt, 'released'))
    if (does === 'deadLetter') await message.deadLetter('as told').then(() => settled(id, attempt, 'dead'))
    if (does === 'ack and commit' || does === 'ack and roll back') {
      await using session = await openSession()
      await session.begin()
      await message.in((text, params) => session.query(text, params)).ack()
      await delay(5)
      if (does === 'ack and commit') return session.commit()
      await session.rollback()
      throw new Error('as told')
    }
  }

  const perform = async (act: Act): Promise<void> => {
    const name = names[act.queue]!
    const queue = test.dueq.queue<Payload>(name)
    switch (act.act) {
      case 'consume': {
        const consumer = clients[act.client]!.queue<Payload>(name).consume(handle, { concurrency: act.concurrency })
        consumers.add(consumer)
        if (act.forMs > 60_000) return void served.set(name, (served.get(name) ?? 0) + 1)
        await delay(act.forMs)
        consumers.delete(consumer)
        return void (await consumer.stop())
      }
      case 'enqueue': {
        const sent: Promise<void>[] = []
        for (const draft of act.drafts) {
          const { ref, at, payload, options } = itemOf(draft)
          const call = queue.enqueue(payload(ref), options)
          sent.push(call.then(({ id, created }) => enqueued(name, ref, created ? id : null, at, created)))
          if (act.gapMs > 0) await delay(act.gapMs)
        }
        return void (await Promise.all(sent))
      }
      case 'enqueueMany': {
        const items = act.drafts.map(itemOf)
        const results = await queue.enqueueMany(
          items.map(({ ref, payload, options }) => ({ payload: payload(ref), ...options })),
        )
        for (const [i, { id, created }] of results.entries())
          enqueued(name, items[i]!.ref, created ? id : null, items[i]!.at, created)
        return
      }
      case 'transaction': {
        await using session = await openSession()
        await session.begin(act.isolation)
        await session.query('select 1')
        await delay(act.enqueueAfterMs)
        const producer = test.dueq.in((text, params) => session.query(text, params)).queue<Payload>(name)
        const items = act.drafts.map(itemOf)
        const ids: string[] = []
        for (const { ref, payload, options } of items) ids.push((await producer.enqueue(payload(ref), options)).id)
        await delay(act.endAfterMs)
        await session[act.end]()
        for (const [i, { ref, at }] of items.entries()) enqueued(name, ref, ids[i]!, at, act.end === 'commit')
        return
      }
      case 'reschedule': {
        // It may come right after an enqueue that is not answered yet.
        for (let i = 0; !recent.get(name)![act.nth] && i < 100; i++) await delay(20)
        const found = recent.get(name)![act.nth]
        if (!found) return
        const at = dueAt(act.delayMs)
        // Before: it may be claimed before the answer comes.
        records.push({ type: 'enqueued', ref: found.ref, id: found.id, dueAt: at, outcome: 'committed' })
        return test.dueq.reschedule(found.id, { delay: act.delayMs })
      }
      case 'cancel': {
        const found = recent.get(name)![act.nth]
        if (found) await test.dueq.cancel(found.id).then(() => gone.add(found.id))
        return
      }
      case 'redrive': {
        const at = dueAt(0)
        for (const { deadId, id } of await queue.redrive()) {
          gone.add(deadId)
          redriven.add(id)
          records.forEach((record, i) => {
            if (record.type !== 'claimed' || record.id !== id) return // claimed before redrive had answered
            const { ref: _, ...rest } = record
            records[i] = rest
          })
          enqueued(name, `redriven ${deadId}`, id, at, true)
        }
        return
      }
      case 'pause':
        await queue.pause()
        await delay(act.forMs)
        return void (await queue.resume())
      case 'snapshot': {
        await using session = await openSession()
        await session.begin('repeatable read')
        await session.query(`select count(*) from ${test.schema}.messages`)
        return delay(act.forMs)
      }
      case 'cutListeners':
        return void proxy.cut({ application: 'dueq listen' })
      case 'travel':
        return test.travel(`${act.byMs} milliseconds`)
    }
  }

  return {
    perform,
    gone,
    async stop() {
      await Promise.all([...consumers].map((consumer) => consumer.stop({ deadline: '3s' })))
    },
  }
}
