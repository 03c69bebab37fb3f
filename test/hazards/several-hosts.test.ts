// postgres.js 3.4.9 with several hosts: where none can be used a statement is never answered, one that says nothing ends the
// search, and `read-write` accepts a standby. Where a naive test fails the driver is cured; src/primary.ts stays all the same, for
// the timelines and for a primary that hangs.
import { setTimeout as delay } from 'node:timers/promises'
import postgres from 'postgres'
import { afterAll, describe, expect, it } from 'vitest'
import { connect } from '../../src/index.js'
import { openPair, rejection } from '../failover/pair.js'
import { startClosing, startSilent } from '../support/fake-server.js'

const opened = await openPair()
afterAll(() => opened?.[Symbol.asyncDispose]())
const pair = opened!

/** The code of the error, the answer, or `nothing`. */
async function naively(url: string, options: object = {}): Promise<unknown> {
  const sql = postgres(url, { max: 1, fetch_types: false, onnotice: () => {}, ...options })
  const answer = sql`select pg_is_in_recovery() as "isStandby"`.then(
    ([row]) => row!['isStandby'],
    (error: { readonly code: string }) => error.code,
  )
  try {
    return await Promise.race([answer, delay(2_500, 'nothing')])
  } finally {
    await sql.end({ timeout: 0 })
  }
}
const nobody = 'postgres://u:p@127.0.0.1:1,127.0.0.1:2/db'

describe('where all hosts refuse', () => {
  it('naive: a statement is never answered', async () => {
    expect(await naively(nobody)).toBe('nothing')
  })

  it('a statement of dueq fails at once, nothing sent', async () => {
    await using dueq = connect(nobody, { onEvent: () => {} })
    const error = await rejection(dueq.queue('any').enqueue(1))
    expect(error).toMatchObject({ code: 'database.unreachable', isOutcomeUnknown: false })
  })
})

describe('where all hosts close at once', () => {
  it('naive: they are tried hundreds of times', async () => {
    await using server = await startClosing()
    const { port } = new URL(server.url)
    await naively(`postgres://u:p@127.0.0.1:${port},127.0.0.1:${port}/db`)
    expect(server.connectionCount).toBeGreaterThan(100)
  })

  it('dueq tries them a few times a second', async () => {
    await using server = await startClosing()
    const { port } = new URL(server.url)
    await using dueq = connect(`postgres://u:p@127.0.0.1:${port},127.0.0.1:${port}/db`, { onEvent: () => {} })
    await using _consumer = dueq.queue('any').consume(() => {})
    await delay(2_000)
    expect(server.connectionCount).toBeGreaterThan(1)
    expect(server.connectionCount).toBeLessThan(60)
  })
})

describe.skipIf(!opened)('with a standby', () => {
  it('naive: `read-write` accepts it', async () => {
    const url = pair.urlOf(pair.standby.port, pair.primary.port)
    expect(await naively(url, { target_session_attrs: 'read-write' })).toBe(true)
    expect(await naively(url, { target_session_attrs: 'primary' })).toBe(false)
  })

  it('naive: a host that says nothing ends the search', async () => {
    await using silent = await startSilent()
    const url = pair.urlOf(Number(new URL(silent.url).port), pair.primary.port)
    expect(await naively(url, { connect_timeout: 1 })).toBe('CONNECT_TIMEOUT')
  })

  it('dueq finds the primary beside both', async () => {
    await using silent = await startSilent()
    const ports = [Number(new URL(silent.url).port), pair.standby.port, pair.primary.port]
    const dueq = pair.client({ url: `${pair.urlOf(...ports)}?target_session_attrs=read-write` })
    expect(await dueq.check()).toMatchObject({ schemaVersion: expect.any(Number) })
  })
})
