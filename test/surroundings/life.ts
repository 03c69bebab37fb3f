/**
 * The whole life of messages through every verb of the client, as one value that must not depend on where it is lived.
 *
 * Instants are compared with the clock of the test, everything else as it is.
 */
import { type Dueq, defineQueue } from '../../src/index.js'

let queueCount = 0

/** What every verb gives on a queue of its own. */
export async function lifeOn(dueq: Dueq): Promise<unknown> {
  const definition = defineQueue<number>(`life${++queueCount}`, { lease: '1m', backoff: { base: '1h', max: '1h' } })
  await dueq.ensure([definition])
  const queue = dueq.queue(definition)
  const dueAt = new Date(Date.now() - 86_400_000)
  const seen: unknown[] = []

  const enqueued = await queue.enqueueMany([
    { payload: 1, dedupKey: 'k"\\,{} ', headers: { to: 'null' } },
    { payload: 2 },
    { payload: 3, at: dueAt, priority: -5 },
    { payload: 4, delay: '10d' },
    { payload: 5 },
    { payload: 6, dedupKey: 'k"\\,{} ' },
  ])
  seen.push(enqueued.map(({ created }) => created))
  await dueq.reschedule(enqueued[3]!.id, { delay: '20d' })
  seen.push(await queue.enqueue(7, { dedupKey: 'null' }).then(({ created }) => created))

  const messages = await queue.dequeue({ max: 10 })
  for (const { payload, priority, headers, attempt, failures, latenessMs, leaseEndsAt, dueAt } of messages) {
    const leaseMs = leaseEndsAt.getTime() - dueAt.getTime() - latenessMs
    seen.push({
      payload,
      priority,
      headers,
      attempt,
      failures,
      isLate: latenessMs >= 86_400_000,
      isLeaseAMinute: leaseMs > 50_000,
    })
  }
  const [oldest, first, second, third, fourth] = messages
  seen.push(oldest!.dueAt.getTime() === dueAt.getTime())
  seen.push((await oldest!.extend('2h')).getTime() - oldest!.leaseEndsAt.getTime() > 7_000_000)
  seen.push(await first!.nack(new Error('e')))
  await second!.release()
  await third!.deadLetter('unwanted', 'why')
  await Promise.all([oldest!.ack(), fourth!.ack()])
  seen.push((await queue.redrive()).length)

  const { delayed, ready, leased, lapsed, dead, nextReadyAt } = await queue.stats()
  seen.push({ delayed, ready, leased, lapsed, dead }, Date.parse(nextReadyAt!) <= Date.now() + 60_000)
  await dueq.cancel(enqueued[3]!.id)
  seen.push(await queue.pause(), await queue.resume(), await queue.purge(), await queue.purgeDead())
  seen.push((await dueq.doctor()).length, (await dueq.check()).schemaVersion)
  return seen
}
