/**
 * One random run: clients that consume, a script of acts, a journal of what happened, and the verdict.
 *
 *   set up -> acts, each at its time -> until nothing is left, or something waits longer than the bound -> judged
 *
 * The consumers are clients of one process, each with connections and a LISTEN of its own, some through a proxy.
 */
import { setTimeout as delay } from 'node:timers/promises'
import { checkJournals } from '../../src/cli/checker.js'
import { type Dueq, defineQueue, isDueqError } from '../../src/index.js'
import { startClient } from '../client/client.js'
import { startProxy } from '../faults/proxy.js'
import { createActor, createJournal, isExpected, type Payload } from './actor.js'
import type { Script } from './script.js'
import { watchMessages } from './watch.js'

/** What came of a run; all lists are empty where the promises hold. */
export type Verdict = {
  readonly problems: readonly unknown[]
  readonly overdue: readonly string[]
  readonly errors: readonly string[]
  readonly summary: string
}

/** Long where it must be no help: a look also says when leases end. Short where they are to lapse while the clock travels. */
const leaseMsOf = ({ isWoken }: Script): number => (isWoken ? 60_000 : 3_000)
/** What a busy machine may add. Of an hour, or of a message that nobody ever looks for, it is nothing. */
const slackMs = 6_000

export async function runScript(script: Script): Promise<Verdict> {
  const { queueCount, pollMs, isWoken, acts } = script
  const leaseMs = leaseMsOf(script)
  await using test = await startClient()
  await using proxy = await startProxy(test.url)
  const errors: string[] = []
  const onEvent = createJournal(errors)
  const over = (url: string, listen: boolean): Dueq =>
    test.anotherByUrl({ url, listenUrl: url, listen, onEvent: onEvent.event, max: 4 })
  const clients = [over(test.url, true), over(proxy.url, true), over(test.url, isWoken)] as const
  const queues = Array.from({ length: queueCount }, (_, i) =>
    defineQueue<Payload>(`r${i}`, {
      lease: leaseMs,
      pollInterval: pollMs,
      maxAttempts: 100,
      backoff: { base: 10, max: 400 },
    }),
  )
  await test.dueq.ensure(queues)
  await test.travel('0')
  // A level that is new is written into the row of the queue: an open transaction that did so would hold up all others.
  for (const { name } of queues) {
    const levels = [-5, 0, 7].map((priority) => ({ payload: { ref: '' }, priority }))
    await test.dueq.queue(name).enqueueMany(levels)
    await test.dueq.queue(name).purge()
  }
  // As it would be in earnest: connections are there, and consumers that come find a listener that is up.
  if (!isWoken) proxy.freeze({ application: 'dueq listen', way: 'toClient' })

  const served = new Map<string, number>()
  const watch = await watchMessages(
    test.schema,
    (isWoken ? 0 : pollMs) + slackMs,
    (queue) => (served.get(queue) ?? 0) > 0,
  )
  const actor = createActor({
    test,
    proxy,
    clients,
    watch,
    served,
    journal: onEvent,
    leaseMs,
    names: queues.map(({ name }) => name),
  })
  try {
    const start = performance.now()
    const doing = acts.map(async (act) => {
      await delay(Math.max(0, act.at - (performance.now() - start)))
      try {
        await actor.perform(act)
      } catch (error) {
        if (!isDueqError(error) || !isExpected.test(error.code)) errors.push(`${act.act}: ${error}`)
      }
    })
    await Promise.all(doing)
    // Whatever is left is delivered by itself, without anybody who enqueues and so wakes others.
    const giveUpAt = performance.now() + 40_000
    while (watch.count > 0 && watch.overdue.length === 0 && performance.now() < giveUpAt) await delay(30)
    if (watch.count > 0 && watch.overdue.length === 0) errors.push(`${watch.count} messages are left over`)
  } finally {
    await actor.stop()
    await watch.stop()
  }
  const name = test.sql(test.schema)
  const live = new Set((await test.sql`select id::text from ${name}.messages`).map((row) => row['id'] as string))
  const dead = new Set((await test.sql`select id::text from ${name}.dead_letters`).map((row) => row['id'] as string))
  const report = await checkJournals(onEvent.records, { live, dead, cancelled: actor.gone })
  const { committed, delivered, duplicates, explainedDuplicates, ok, problems } = report
  return {
    problems: ok ? [] : problems,
    overdue: watch.overdue,
    errors,
    summary: `${acts.length} acts on ${queueCount} queues, ${committed} messages committed, ${delivered} delivered, ${duplicates} again (${explainedDuplicates} explained), ${dead.size} dead, the longest wait ${watch.longestMs.toFixed(0)} ms of a poll interval of ${pollMs} ms`,
  }
}
