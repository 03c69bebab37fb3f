// BullMQ on Redis. Redis answers before its file is written (everysec, as BullMQ advises), so an acknowledged message may be
// lost with the machine; the others here lose none.
import { createBullmq } from './peers/bullmq.mjs'

/** @type {import('../contract.js').System} */
export default {
  name: 'bullmq-redis',
  ...createBullmq({
    open: async ({ redisUrl }) => ({ connection: address(redisUrl), close: async () => {} }),
    concurrency: 100,
    timeClaims: timeScripts,
  }),
  settings:
    'concurrency 100, removeOnComplete, ioredis; Redis with appendonly yes, appendfsync everysec, noeviction (docs.bullmq.io/guide/going-to-production); addBulk for bulk',
  needs: 'redis',

  async setup() {},

  async backlog(context, { count, delayMs, payload }) {
    const { Queue } = await import('bullmq')
    const queue = new Queue(context.queue, { connection: address(context.redisUrl) })
    const piece = 2000
    for (let from = 0; from < count; from += piece)
      await queue.addBulk(
        Array.from({ length: Math.min(piece, count - from) }, (_, i) => ({
          name: 'message',
          data: payload,
          opts: { removeOnComplete: true, removeOnFail: true, ...(delayMs > 0 && { delay: delayMs + from + i }) },
        })),
      )
    await queue.close()
  },

  async isEmpty({ redisUrl, queue: name }) {
    const { Queue } = await import('bullmq')
    const queue = new Queue(name, { connection: address(redisUrl) })
    const { wait = 0, active = 0, prioritized = 0 } = await queue.getJobCounts('wait', 'active', 'prioritized')
    const [soonest] = await queue.getDelayed(0, 0)
    await queue.close()
    const isFar = !soonest || soonest.timestamp + soonest.delay > Date.now() + 600_000
    return wait + active + prioritized === 0 && isFar
  },

  async teardown() {},
}

// --- internal ---

/** @param {string | undefined} redisUrl */
function address(redisUrl) {
  if (!redisUrl) throw new Error('No Redis: install redis-server.')
  const { hostname, port, password, username, pathname } = new URL(redisUrl)
  return {
    host: hostname,
    port: Number(port || 6379),
    db: Number(pathname.slice(1) || 0),
    ...(password && { username: username || 'default', password: decodeURIComponent(password) }),
  }
}

/**
 * Times the two scripts that claim, inside ioredis: moveToActive has 11 keys, and moveToFinished, which takes the next job
 * with it, has 14. No other script that a worker runs here has as many.
 * @param {(ms: number) => void} onClaim
 */
async function timeScripts(onClaim) {
  const { Redis } = await import('ioredis')
  const { sendCommand } = Redis.prototype
  Redis.prototype.sendCommand = function (/** @type {any} */ command, ...rest) {
    const keys = /^eval/i.test(command.name) ? Number(command.args[1]) : 0
    if (keys === 11 || keys === 14) {
      const start = performance.now()
      const note = () => onClaim(performance.now() - start)
      command.promise.then(note, () => {})
    }
    return sendCommand.call(this, command, ...rest)
  }
}
