import { afterAll, beforeAll, expect, test } from 'vitest'
import { freshSchema } from '../support/database.js'
import { dueqOn } from './dueq.js'

const schema = await freshSchema()
const dueq = dueqOn(schema)
beforeAll(() => dueq('queue', 'create', 'mail', '--max-attempts', '1'))
afterAll(() => schema.close())

test('escape sequences of payloads, headers and errors never reach the terminal', async () => {
  const evil = '\u001b]0;title\u0007\u001b[2J\u009b31m\u202e'
  const { id } = (
    await dueq('enqueue', 'mail', JSON.stringify({ evil }), '--headers', JSON.stringify({ evil }), '--json')
  ).json<{ id: string }>()
  const shown = [
    await dueq('peek', 'mail'),
    await dueq('peek', 'mail', '--json'),
    await dueq('peek', 'mail', '--id', id),
  ]
  await dueq('consume', 'mail', '--drain', '--exec', 'cat >&2; printf "\\033[2J" >&2; exit 1')
  shown.push(await dueq('dead', 'list'), await dueq('dead', 'list', '--json'))
  const [letter] = shown.at(-1)!.json<{ id: string; payload: unknown }[]>()
  expect(letter?.payload).toEqual({ evil })
  shown.push(await dueq('dead', 'show', letter!.id), await dueq('enqueue', 'mail', evil))
  for (const { stdout, stderr } of shown) expect(stdout + stderr).not.toMatch(/[^\P{Cc}\n]|\u202e/u)
})
