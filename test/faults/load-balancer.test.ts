import { expect, it } from 'vitest'
import { connect } from '../../src/index.js'
import { startClosing } from '../support/fake-server.js'

it('a load balancer without a server behind it is asked a few times a second, not hundreds of times', async () => {
  await using balancer = await startClosing()
  await using dueq = connect(balancer.url, { timeout: '2s', onEvent: () => {} })
  await using _consumer = dueq.queue('any').consume(() => {})
  await expect(dueq.check()).rejects.toMatchObject({
    code: expect.stringMatching(/^(timeout|database.unreachable)$/),
  })
  // Two connections for statements and one that listens.
  expect(balancer.connectionCount).toBeGreaterThan(1)
  expect(balancer.connectionCount).toBeLessThan(60)
})
