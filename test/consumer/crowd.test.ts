// Two looks of a consumer are under way where messages abound, and one where other processes claim at the same time.
import pg from 'pg'
import { afterAll, beforeAll, expect, inject, it } from 'vitest'
import { connect } from '../../src/index.js'
import { startClient, type TestClient } from '../client/client.js'
import { openSession } from '../support/sessions.js'

let test: TestClient
beforeAll(async () => {
  test = await startClient()
})
afterAll(() => test.close())

const claim = (queue: string, max: number) => `select id::text, is_crowded from ${test.schema}.poll('${queue}', ${max})`

it('a full claim says whether somebody else is claiming what was in front of it', async () => {
  const queue = await test.queue<number>()
  await queue.enqueueMany(Array.from({ length: 500 }, (_, n) => ({ payload: n })))
  await using one = await openSession()
  await using other = await openSession()
  const isCrowded = async (max: number): Promise<unknown> =>
    (await other.query(claim(queue.name, max))).at(-1)!['is_crowded']
  await one.begin()
  await one.query(claim(queue.name, 100))
  expect(await isCrowded(100)).toBe(true)
  expect(await isCrowded(10)).toBe(null) // of a small one it is not asked
  await one.commit()
  expect(await isCrowded(100)).toBe(false)
  expect(await isCrowded(1000)).toBe(null) // nor of one that took all there was
})

it('a consumer has one look under way while others claim in front of it, and two again when they are gone', async () => {
  const queue = await test.queue<number>()
  const fill = () => queue.enqueueMany(Array.from({ length: 20_000 }, (_, n) => ({ payload: n })))
  await fill()
  await using other = await openSession()
  await other.begin()
  await other.query(claim(queue.name, 5))

  const pool = new pg.Pool({ connectionString: inject('databaseUrl'), max: 6 })
  let looks = 0
  let mostLooks = 0
  const dueq = connect(
    {
      query: async (text: string, params: (string | null)[]) => {
        const isLook = text.includes('.poll(')
        if (isLook) mostLooks = Math.max(mostLooks, ++looks)
        try {
          return (await pool.query({ text, values: params, rowMode: 'array' })).rows as unknown[]
        } finally {
          if (isLook) looks--
        }
      },
    },
    { schema: test.schema, listen: false },
  )
  let handled = 0
  dueq.queue<number>(queue.name).consume(() => void handled++, { concurrency: 100 })
  await expect.poll(() => handled, { timeout: 20_000 }).toBe(19_995)
  expect(mostLooks).toBe(1)

  await other.rollback()
  await expect
    .poll(
      async () => {
        await fill()
        return mostLooks
      },
      { timeout: 30_000 },
    )
    .toBe(2)
  await dueq.close()
  await pool.end()
})
