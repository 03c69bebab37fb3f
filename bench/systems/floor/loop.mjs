// The lease and delete loop of the floor, one on each connection:
//
//   claim -- some --> handle, delete, claim again
//        `-- none --> sleep until a wake-up, the next ready_at, or the poll interval
//
// A wake-up during a claim counts: the sleep after it is skipped.

const claimText = `update messages set ready_since = ready_at, ready_at = now() + interval '30 seconds', attempt = attempt + 1, leased_by = 'floor'
 where id = any(array(
   select id from messages where queue_id = $1::text::integer and priority = 0 and ready_at <= now()
    order by ready_at, id limit $2::text::integer for update skip locked))
 returning id::text, payload::text`
const deleteText = 'delete from messages where id = any($1::text::bigint[])'
const nextText = `select extract(epoch from min(ready_at) - clock_timestamp())::float8 * 1000 from messages where queue_id = $1::text::integer and priority = 0`

/**
 * @param {{
 *   sql: import('postgres').Sql, queueId: string, onMessage: import('../../contract.js').OnMessage,
 *   onClaim: ((ms: number) => void) | undefined, batch: number, connections: number, notifies: boolean,
 * }} options
 */
export function createLoop({ sql, queueId, onMessage, onClaim, batch, connections, notifies }) {
  const pollMs = notifies ? 5000 : 10
  /** @type {Set<() => void>} */
  const sleeping = new Set()
  let isStopped = false
  let wakes = 0
  const wake = () => {
    wakes++
    for (const resolve of sleeping) resolve()
    sleeping.clear()
  }
  /** @param {number} ms */
  const sleep = (ms) =>
    /** @type {Promise<void>} */ (
      new Promise((resolve) => {
        const timer = setTimeout(done, ms)
        function done() {
          clearTimeout(timer)
          sleeping.delete(done)
          resolve()
        }
        sleeping.add(done)
      })
    )

  const claim = async () => {
    const start = performance.now()
    const rows = await sql.unsafe(claimText, [queueId, String(batch)], { prepare: true }).values()
    onClaim?.(performance.now() - start)
    return rows
  }

  /** @param {() => void} onFirst */
  const run = async (onFirst) => {
    while (!isStopped) {
      const seen = wakes
      const rows = await claim()
      onFirst()
      if (rows.length > 0) {
        for (const row of rows) onMessage(JSON.parse(row[1]))
        await sql.unsafe(deleteText, [`{${rows.map((row) => row[0]).join(',')}}`], { prepare: true })
        continue
      }
      const [[nextMs]] = /** @type {any} */ (await sql.unsafe(nextText, [queueId], { prepare: true }).values())
      if (seen === wakes && !isStopped) await sleep(Math.min(Math.max(nextMs ?? pollMs, 0), pollMs))
    }
  }

  /** @type {Promise<void>[]} */
  const runs = []
  const ready = Promise.all(
    Array.from({ length: connections }, () => new Promise((resolve) => runs.push(run(() => resolve(undefined))))),
  )
  return {
    ready,
    wake,
    async stop() {
      isStopped = true
      wake()
      await Promise.all(runs)
    },
  }
}
