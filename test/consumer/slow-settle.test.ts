import { afterAll, beforeAll, expect, it } from 'vitest'
import { startClient, type TestClient } from '../client/client.js'

let client: TestClient
beforeAll(async () => {
  client = await startClient()
  await client.sql.unsafe(`
    create function ${client.schema}.slow() returns trigger language plpgsql as $$
    begin
      perform pg_sleep(1.6);
      return old;
    end $$;
    create trigger slow before delete on ${client.schema}.messages for each row execute function ${client.schema}.slow();
  `)
})
afterAll(() => client.close())

it('promise 3: an ack that is on its way when the lease ends is decided by its answer, not called lost before', async () => {
  const queue = await client.queue({ lease: '1s', pollInterval: '100ms' })
  let handledCount = 0
  await using _consumer = queue.consume(() => void handledCount++)
  const { id } = await queue.enqueue({})
  expect(await client.event('message.acked')).toMatchObject({ id, attempt: 1 })
  expect(client.events.filter(({ type }) => type === 'lease.lost')).toEqual([])
  expect(handledCount).toBe(1)
  expect(await queue.stats()).toMatchObject({ ready: 0, leased: 0, lapsed: 0, dead: 0 })
})
