// dueq with a connection of its own for each call under way, up to 32, so that no two enqueues are gathered into one
// statement: what is left is to be compared with systems that gather nothing.
import { connect } from '../../dist/esm/index.js'
import dueq from './dueq.mjs'

const most = 32
const same = 'it differs from dueq only where single enqueues are gathered'

/** @type {import('../contract.js').System} */
export default {
  ...dueq,
  name: 'dueq-uncoalesced',
  settings: `as dueq, but each call under way has a client with one connection, at most ${most} of them: nothing is gathered`,
  coalesces: false,
  skips: Object.fromEntries([
    ...['bulk', 'drain', 'latency', 'lateness', 'future', 'held', 'idle', 'memory', 'payloads'].map((name) => [
      name,
      same,
    ]),
    ['connections', 'there dueq itself gathers nothing'],
  ]),

  async producer({ url, queue }, { callers }) {
    const clients = Array.from({ length: Math.min(callers, most) }, () => connect(url, { max: 1 }))
    await Promise.all(clients.map((client) => client.check()))
    /** @typedef {import('../../dist/esm/index.js').QueueHandle<any, any>} Handle */
    /** @type {Handle[]} */
    const free = clients.map((client) => client.queue(queue))
    /** @type {((handle: Handle) => void)[]} */
    const waiting = []
    /** @returns {Promise<Handle>} */
    const take = async () => free.pop() ?? new Promise((resolve) => waiting.push(resolve))
    return {
      async enqueue(payload, { delayMs } = {}) {
        const handle = await take()
        try {
          return await handle.enqueue(payload, delayMs ? { delay: delayMs } : undefined)
        } finally {
          const next = waiting.shift()
          if (next) next(handle)
          else free.push(handle)
        }
      },
      enqueueMany: () => Promise.reject(new Error('measured as dueq')),
      async close() {
        await Promise.all(clients.map((client) => client.close()))
      },
    }
  },
}
