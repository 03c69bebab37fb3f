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
  skips: { held: 'a snapshot held in PostgreSQL keeps nothing in Redis' },

  async setup() {},

  async backlog({ redisUrl, queue }, { count, delayMs, payload }) {
    const { Redis } = await import('ioredis')
    const redis = new Redis(address(redisUrl))
    const piece = 10_000
    for (let from = 0; from < count; from += piece) {
      const size = Math.min(piece, count - from)
      const delay = delayMs > 0 ? delayMs + from : 0
      await redis.eval(fillScript, 0, `bull:${queue}:`, size, Date.now(), delay, JSON.stringify(payload))
    }
    await redis.quit()
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

/**
 * Adds jobs as `add` would, without the events nobody reads here. A million by `addBulk` takes most of a minute, ten
 * million longer than the measurement.
 */
const fillScript = `
  local prefix, size, now, delay, data = ARGV[1], tonumber(ARGV[2]), tonumber(ARGV[3]), tonumber(ARGV[4]), ARGV[5]
  local last = redis.call('incrby', prefix .. 'id', size)
  local opts = '{"removeOnComplete":true,"removeOnFail":true,"attempts":0'
  for i = 1, size do
    local id = string.format('%.0f', last - size + i)
    if delay > 0 then
      local due = string.format('%.0f', delay + i)
      redis.call('hset', prefix .. id, 'name', 'message', 'data', data, 'opts', opts .. ',"delay":' .. due .. '}',
        'timestamp', ARGV[3], 'delay', due, 'priority', '0')
      redis.call('zadd', prefix .. 'delayed', string.format('%.0f', (now + delay + i) * 4096), id)
    else
      redis.call('hset', prefix .. id, 'name', 'message', 'data', data, 'opts', opts .. '}',
        'timestamp', ARGV[3], 'delay', '0', 'priority', '0')
      redis.call('lpush', prefix .. 'wait', id)
    end
  end
  if delay > 0 then
    local soonest = redis.call('zrange', prefix .. 'delayed', 0, 0, 'withscores')[2]
    redis.call('zadd', prefix .. 'marker', string.format('%.0f', soonest / 4096), '1')
  else
    redis.call('zadd', prefix .. 'marker', 0, '0')
  end`

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
