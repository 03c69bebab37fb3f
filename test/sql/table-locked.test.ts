// What the calls of consumers do while somebody has the whole table: a client that waits for longer gives up and connects
// anew, but the server does not notice, so without an end of its own every try would leave a session behind.
import { afterAll, beforeAll, expect, it } from 'vitest'
import { type Engine, startEngine } from './engine.js'

let engine: Engine
beforeAll(async () => {
  engine = await startEngine()
  await engine.rows(`select dueq.create_queue('locked')`)
})
afterAll(() => engine.close())

it('poll, dequeue and the _many forms of settles end with 55P03 where the table stays locked as a whole', async () => {
  await using holder = await engine.session()
  await holder.begin()
  await holder.rows('lock table dueq.messages in access exclusive mode')
  const calls = [
    `select p.id from dueq.poll('locked') p`,
    `select d.id from dueq.dequeue('locked') d`,
    `select a.id from dueq.ack_many(array[1], array[1]) a`,
    `select n.id from dueq.nack_many(array[1], array[1]) n`,
    `select r.id from dueq.release_many(array[1], array[1]) r`,
    `select e.id from dueq.extend_many(array[1], array[1], '30 seconds') e`,
  ]
  await Promise.all(
    calls.map(async (call) => {
      await using caller = await engine.session()
      await expect(caller.rows(call), call).rejects.toMatchObject({ code: '55P03' })
    }),
  )
  await holder.rollback()
})
