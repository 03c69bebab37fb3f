import { afterAll, beforeAll, expect, test } from 'vitest'
import { freshSchema } from '../support/database.js'
import { dueqOn } from './dueq.js'

const schema = await freshSchema()
const dueq = dueqOn(schema)
beforeAll(() => dueq('queue', 'create', 'mail'))
afterAll(() => schema.close())

test('`enqueue` takes a payload with all its options, and a dedup key gives the first message again', async () => {
  const options = ['--delay', '10m', '--priority', '-5', '--dedup-key', 'k', '--headers', '{"h":1}']
  const first = await dueq('enqueue', 'mail', '{"to":"Ada"}', ...options, '--json')
  expect(first).toMatchObject({ code: 0, stderr: '' })
  const { id } = first.json<{ id: string }>()
  expect((await dueq('enqueue', 'mail', '2', '--dedup-key', 'k')).stdout).toBe(
    `Message ${id} has this dedup key already; nothing was enqueued.\n`,
  )

  const card = (await dueq('peek', 'mail', '--id', id)).stdout
  expect(card).toMatch(/state +delayed\npriority +-5\n/)
  expect(card).toMatch(/payload +\{"to":"Ada"\}\nheaders +\{"h":1\}/)
  expect((await dueq('peek', 'mail', '--id', id, '--json')).json()).toMatchObject({ id, payload: { to: 'Ada' } })
})

test('`reschedule` and `cancel` act on one message', async () => {
  const { id } = (await dueq('enqueue', 'mail', '1', '--at', '2099-01-01T00:00:00Z', '--json')).json<{ id: string }>()
  expect((await dueq('reschedule', id, '--at', '2098-01-01T00:00:00Z')).stdout).toBe(`Message ${id} rescheduled.\n`)
  expect((await dueq('peek', 'mail', '--id', id)).stdout).toMatch(/due +2098-/)
  expect((await dueq('reschedule', id, '--delay', '1h', '--json')).json()).toEqual({ id, rescheduled: true })
  expect((await dueq('reschedule', id)).stderr).toContain('[usage]')
  expect((await dueq('cancel', id)).stdout).toBe(`Message ${id} cancelled.\n`)
  const again = await dueq('cancel', id, '--json')
  expect(again.code).toBe(3)
  expect(again.json()).toMatchObject({ error: { code: 'message.not_found' } })
})

test('`purge` asks, and deletes what nobody is working on', async () => {
  const unasked = await dueq('purge', 'mail')
  expect(unasked.code).toBe(2)
  expect(unasked.stderr).toContain('[confirmation.required]')
  await dueq('enqueue', 'mail', '1')
  await schema.sql`select id from ${schema.sql(schema.schema)}.dequeue(queue => 'mail', max => 1, consumer => 'c')`
  await dueq('enqueue', 'mail', '2')
  expect((await dueq('purge', 'mail', '--yes', '--json')).json()).toMatchObject({ queue: 'mail' })
  expect((await dueq('stats', 'mail', '--json')).json()).toMatchObject({ ready: 0, delayed: 0, leased: 1 })
  expect((await dueq('purge', 'mail', '--include-leased', '--yes')).stdout).toBe('Deleted 1 message of queue "mail".\n')
})
