/**
 * Looks at the table all the time, as somebody who needs no notification: how long is a message ready and left alone?
 *
 * What counts is when this process sees a message ready, after the commit that made it so, and not the instants in the row:
 * so commits that come late, retries, releases, redrives, a queue that resumes and a clock that travels are all the same.
 */
import { setTimeout as delay } from 'node:timers/promises'
import { openSession } from '../support/sessions.js'

export type Watch = {
  /** The time of the database when it was last looked at, in ms since 1970: a lower bound of what it is now. */
  readonly databaseMs: number
  /** The longest wait so far, in ms. */
  readonly longestMs: number
  /** What waited longer than the bound. */
  readonly overdue: readonly string[]
  /** How many messages are stored: waiting, leased or delayed. */
  readonly count: number
  stop(): Promise<void>
}

const lookEveryMs = 40

type Seen = { id: string; attempt: number; queue: string; readyAt: string }

/** Watches the messages of queues on which `isServed`; others have nobody who could come. */
export async function watchMessages(
  schema: string,
  boundMs: number,
  isServed: (queue: string) => boolean,
): Promise<Watch> {
  const session = await openSession()
  const since = new Map<string, number>()
  const overdue = new Set<string>()
  let isOver = false
  let databaseMs = 0
  let longestMs = 0
  let count = 0

  const look = async (): Promise<void> => {
    const [row] = await session.query<{ now: number; count: number; ready: readonly Seen[] }>(`
      select extract(epoch from t.now)::float8 * 1000 as now,
             (select count(*)::int from ${schema}.messages) as count,
             (select coalesce(json_agg(json_build_object('id', m.id::text, 'attempt', m.attempt, 'queue', q.name, 'readyAt', m.ready_at)), '[]')
                from ${schema}.messages m join ${schema}.queues q on q.id = m.queue_id
               where m.ready_at <= t.now and q.paused_at is null) as ready
        from (select ${schema}.clock() as now offset 0) t`)
    const seenAt = performance.now()
    databaseMs = row!.now
    count = row!.count
    const ready = new Set<string>()
    for (const { id, attempt, queue, readyAt } of row!.ready) {
      if (!isServed(queue)) continue
      const what = `message ${id} of ${queue}, after attempt ${attempt}, ready at ${readyAt}`
      ready.add(what)
      if (!since.has(what)) since.set(what, seenAt)
      const waitedMs = seenAt - since.get(what)!
      longestMs = Math.max(longestMs, waitedMs)
      if (waitedMs > boundMs) overdue.add(what)
    }
    for (const what of since.keys()) if (!ready.has(what)) since.delete(what)
  }

  await look()
  const looking = (async () => {
    while (!isOver) {
      await look()
      await delay(lookEveryMs)
    }
  })()
  return {
    get databaseMs() {
      return databaseMs
    },
    get longestMs() {
      return longestMs
    },
    get overdue() {
      return [...overdue]
    },
    get count() {
      return count
    },
    async stop() {
      isOver = true
      await looking
      await session.close()
    },
  }
}
