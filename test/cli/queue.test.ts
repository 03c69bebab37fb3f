import { afterAll, expect, test } from 'vitest'
import { freshSchema } from '../support/database.js'
import { dueqOn } from './dueq.js'

const schema = await freshSchema()
const dueq = dueqOn(schema)
afterAll(() => schema.close())

test('`queue create` creates a queue with its settings, and changes only what is given', async () => {
  const settings = ['--lease', '1m', '--max-attempts', '3', '--backoff-base', '10ms', '--backoff-max', '5000']
  const created = await dueq('queue', 'create', 'mail', ...settings, '--poll-interval', '2s', '--json')
  expect(created.code).toBe(0)
  expect(created.json()).toMatchObject({ outcome: 'created', leaseMs: 60_000, maxAttempts: 3, backoffMaxMs: 5000 })
  expect((await dueq('queue', 'create', 'mail')).stdout).toBe('Queue "mail" is as wanted already.\n')
  expect((await dueq('queue', 'create', 'mail', '--lease', '30s')).stdout).toBe('Queue "mail" changed.\n')

  const list = await dueq('queue', 'list')
  expect(list.stdout).toMatch(/mail +30 s +3 +10 ms to 5 s +2 s +none +-/)
  expect((await dueq('queue', 'list', '--json')).json<unknown[]>()).toHaveLength(1)
  expect((await dueq('queue', 'show', 'mail')).stdout).toMatch(/max attempts +3\n/)
  expect((await dueq('queue', 'show', 'mail', '--json')).json()).toMatchObject({ queue: 'mail', ready: 0 })
})

test('`queue pause` and `queue resume` say whether they changed anything', async () => {
  await dueq('queue', 'create', 'halted')
  expect((await dueq('queue', 'pause', 'halted')).stdout).toBe('Queue "halted" paused.\n')
  expect((await dueq('queue', 'pause', 'halted', '--json')).json()).toMatchObject({ paused: true, changed: false })
  expect((await dueq('queue', 'resume', 'halted', '--json')).json()).toMatchObject({ paused: false, changed: true })
  expect((await dueq('queue', 'resume', 'halted')).stdout).toBe('Queue "halted" was running already.\n')
})

test('`queue drop` refuses a queue that is not empty, and asks', async () => {
  await dueq('queue', 'create', 'doomed')
  await dueq('enqueue', 'doomed', '1')
  const full = await dueq('queue', 'drop', 'doomed', '--yes')
  expect(full.code).toBe(1)
  expect(full.stderr).toContain('[queue.not_empty]')
  const unasked = await dueq('queue', 'drop', 'doomed', '--force')
  expect(unasked.code).toBe(2)
  expect(unasked.stderr).toContain('[confirmation.required]')

  const dropped = await dueq('queue', 'drop', 'doomed', '--force', '--yes', '--json')
  expect(dropped.json()).toEqual({ queue: 'doomed', dropped: true, purged: 1, purgedDead: 0 })
  expect((await dueq('queue', 'show', 'doomed')).code).toBe(3)
})
