/**
 * One name or address for all servers, as managed services have it: it comes to mean another server.
 */
import { connect as connectTcp, createServer, type Server, type Socket } from 'node:net'
import { expect, it } from 'vitest'
import { load, outcome, rejection, startPair } from './pair.js'

it('one host whose address comes to mean another server is followed: each connection is made anew', async (test) => {
  await using pair = await startPair(test)
  await using address = await startAddress(pair.primary.port)
  const handled: number[] = []
  const url = pair.urlOf(address.port)
  const dueq = pair.client({ url })
  await dueq.ensure([load])
  dueq.queue(load).consume(({ payload }) => void handled.push(payload))
  await dueq.queue(load).enqueue(1)
  await expect.poll(() => handled).toContain(1)

  // For a moment it means the standby, as a name does that was changed before the promotion.
  address.target = pair.standby.port
  await pair.primary.kill()
  const errors = new Set<string>()
  await expect
    .poll(async () => {
      errors.add((await rejection(dueq.queue(load).enqueue(2))).code)
      return [...errors]
    })
    .toContain('database.read_only')
  await pair.standby.promote()
  await expect.poll(() => outcome(dueq.queue(load).enqueue(3)), { timeout: 10_000 }).toBe('created')
  await expect.poll(() => handled, { timeout: 10_000 }).toContain(3)
}, 60_000)

/** A TCP address whose server can be exchanged; connections that are open stay where they are. */
async function startAddress(port: number) {
  const sockets = new Set<Socket>()
  const address = { target: port, port: 0, [Symbol.asyncDispose]: async () => end() }
  const server: Server = createServer((near) => {
    const far = connectTcp(address.target, '127.0.0.1')
    for (const [one, other] of [
      [near, far],
      [far, near],
    ] as const) {
      sockets.add(one)
      one.on('error', () => {}).on('close', () => other.destroy())
      one.pipe(other)
    }
  })
  const end = (): void => {
    server.close()
    for (const socket of sockets) socket.destroy()
  }
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  address.port = (server.address() as { port: number }).port
  return address
}
