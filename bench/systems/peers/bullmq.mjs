// BullMQ over either of its backends: both have the same API and differ in what connects them.
//
// One Worker for each process and queue: `concurrency` is its own way to have several handlers, and the one its
// documentation names first. Finished jobs are removed, as it advises for queues that grow (both backends keep them
// for good by default).
import { share } from './share.mjs'
import { versionOf } from './version.mjs'

/**
 * @typedef {import('../../contract.js').Context} Context
 * @typedef {{ connection: any, factory?: any, close: () => Promise<unknown> }} Link what a Queue or a Worker connects with
 */

/**
 * @param {{
 *   open: (context: Context, max: number) => Promise<Link>,
 *   concurrency: number,
 *   timeClaims: (onClaim: (ms: number) => void) => void | Promise<void>,
 * }} backend
 */
export function createBullmq({ open, concurrency: best, timeClaims }) {
  const lendQueue = share(openQueue)
  const lendWorker = share(openWorker)

  /** @param {Context} context @param {number} max */
  async function openQueue(context, max) {
    const { Queue } = await import('bullmq')
    const link = await open(context, max)
    const defaultJobOptions = { removeOnComplete: true, removeOnFail: true }
    const queue = new Queue(context.queue, { connection: link.connection, defaultJobOptions }, link.factory)
    queue.on('error', (error) => console.error(error))
    await queue.waitUntilReady()
    return {
      queue,
      async close() {
        await queue.close()
        await link.close()
      },
    }
  }

  /**
   * @param {Context} context
   * @param {string} name
   * @param {import('../../contract.js').OnMessage} onMessage
   * @param {number} concurrency
   * @param {((ms: number) => void) | undefined} onClaim
   */
  async function openWorker(context, name, onMessage, concurrency, onClaim) {
    if (onClaim) await timeClaims(onClaim)
    const { Worker } = await import('bullmq')
    // One more: the worker takes a connection of a pool for LISTEN.
    const link = await open(context, concurrency + 1)
    const handle = async (/** @type {{ data: import('../../contract.js').Payload }} */ { data }) => onMessage(data)
    const worker = new Worker(name, handle, { connection: link.connection, concurrency }, link.factory)
    worker.on('error', (error) => console.error(error))
    await worker.waitUntilReady()
    return {
      async close() {
        await worker.close()
        await link.close()
      },
    }
  }

  return {
    kind: /** @type {const} */ ('peer'),
    version: () => versionOf('bullmq'),
    minNode: 20,
    coalesces: false,

    /** @param {Context} context @param {import('../../contract.js').ProducerOptions} options */
    async producer(context, { connections, callers }) {
      const max = connections ?? Math.min(callers, 32)
      const isOwn = connections !== undefined
      const { value, close } = await lendQueue(isOwn ? Symbol('own') : 'shared', context, max)
      const { queue } = value
      return {
        /** @param {import('../../contract.js').Payload} payload @param {{ delayMs?: number }} [options] */
        enqueue: (payload, { delayMs: delay } = {}) => queue.add('message', payload, { delay }),
        /** @param {readonly import('../../contract.js').Payload[]} payloads @param {{ delayMs?: number }} [options] */
        enqueueMany: (payloads, { delayMs: delay } = {}) =>
          queue.addBulk(payloads.map((data) => ({ name: 'message', data, opts: { delay } }))),
        close,
      }
    },

    /**
     * @param {Context} context
     * @param {import('../../contract.js').OnMessage} onMessage
     * @param {import('../../contract.js').ConsumerOptions} options
     */
    async consumer(context, onMessage, { concurrency = best, onClaim, queue = context.queue }) {
      return lendWorker(queue, context, queue, onMessage, concurrency, onClaim)
    },
  }
}
