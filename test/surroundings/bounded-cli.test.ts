import { expect, it } from 'vitest'
import { dueqOn } from '../cli/dueq.js'
import { startSilent } from '../support/fake-server.js'
import { variant } from '../support/variant.js'

// Connecting may take 10 s, a statement 30 s: only a long run waits for that.
const isLong = (variant.seconds ?? 0) >= 30
const message = ['a', '1']
const commands: readonly (readonly string[])[] = [
  ['stats'],
  ['doctor'],
  ['enqueue', ...message],
  ['consume', 'a', '--exec', 'true'],
  ['peek', 'a'],
  ['dead', 'list'],
  ['queue', 'create', 'a'],
  ['migrate'],
  ['migrate', 'status'],
]

it('dueq migrate ends with a message where the server accepts and says nothing, by --timeout', async () => {
  await using server = await startSilent()
  const dueq = dueqOn({ url: server.url })
  const ended = await Promise.all([dueq('migrate', '--timeout', '1s'), dueq('migrate', 'status', '--timeout', '1s')])
  for (const { code, stderr } of ended) {
    expect(code).toBe(1)
    expect(stderr).toContain('[timeout]')
  }
})

it.runIf(isLong)(
  'every command ends with a message where the server accepts and says nothing',
  async () => {
    await using server = await startSilent()
    const dueq = dueqOn({ url: server.url })
    const start = performance.now()
    const ended = await Promise.all(commands.map((args) => dueq(...args)))
    for (const [i, { code, stderr }] of ended.entries()) {
      expect([commands[i], code]).toEqual([commands[i], 4])
      expect(stderr).toContain('[database.unreachable]')
    }
    expect(performance.now() - start).toBeLessThan(40_000)
  },
  60_000,
)
