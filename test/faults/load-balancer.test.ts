import { once } from 'node:events'
import { type AddressInfo, createServer } from 'node:net'
import { expect, it } from 'vitest'
import { connect } from '../../src/index.js'

it('a load balancer without a server behind it is asked a few times a second, not hundreds of times', async () => {
  let acceptedCount = 0
  const balancer = createServer((socket) => {
    acceptedCount++
    socket.on('error', () => {})
    socket.end()
  }).listen(0, '127.0.0.1')
  await once(balancer, 'listening')
  const { port } = balancer.address() as AddressInfo
  try {
    await using dueq = connect(`postgres://dueq@127.0.0.1:${port}/none`, { timeout: '2s', onEvent: () => {} })
    await using _consumer = dueq.queue('any').consume(() => {})
    await expect(dueq.check()).rejects.toMatchObject({
      code: expect.stringMatching(/^(timeout|database.unreachable)$/),
    })
    // Two connections for statements and one that listens.
    expect(acceptedCount).toBeGreaterThan(1)
    expect(acceptedCount).toBeLessThan(60)
  } finally {
    balancer.close()
  }
})
