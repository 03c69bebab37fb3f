import { setTimeout as delay } from 'node:timers/promises'
import { expect, it } from 'vitest'
import { defineQueue } from '../../src/index.js'
import { migrate } from '../../src/migrate.js'
import { connectVariant } from '../client/connection.js'
import { startOwnServer } from '../support/own-server.js'

it('promise 2: a server killed under load and started again: the consumer goes on by itself, nothing is lost', async (test) => {
  const rejections: unknown[] = []
  const onRejection = (error: unknown): void => void rejections.push(error)
  process.on('unhandledRejection', onRejection)
  await using server = await startOwnServer(test)
  const { url } = server
  await migrate({ url })
  await using dueq = connectVariant({ url, listenUrl: url, onEvent: () => {} })
  const queue = defineQueue<number>('load', { lease: '1s', pollInterval: '200ms' })
  await dueq.ensure([queue])
  const committed = new Set<string>()
  const handled = new Set<string>()
  const consumer = dueq.queue(queue).consume(
    async (message) => {
      await delay(2)
      handled.add(message.id)
    },
    { concurrency: 20 },
  )
  let isOver = false
  const producing = Promise.all(
    Array.from({ length: 8 }, async (_, producer) => {
      while (!isOver) {
        await dueq
          .queue(queue)
          .enqueue(producer)
          .then(
            ({ id }) => void committed.add(id),
            () => delay(20), // not known to be enqueued
          )
      }
    }),
  )
  for (let round = 0; round < 2; round++) {
    await delay(400)
    await server.kill()
    await delay(300)
    await server.restart()
    const before = handled.size
    await expect.poll(() => handled.size, { timeout: 8_000 }).toBeGreaterThan(before + 20)
  }
  isOver = true
  await producing
  await expect.poll(() => [...committed].filter((id) => !handled.has(id)), { timeout: 8_000 }).toEqual([])
  expect(consumer.status.state).toBe('running')
  await expect.poll(() => dueq.queue(queue).stats(), { timeout: 8_000 }).toMatchObject({ ready: 0, leased: 0, dead: 0 })
  process.off('unhandledRejection', onRejection)
  expect(rejections).toEqual([])
}, 40_000)
