// An upgrade under load: producers and consumer processes of the kept release and of the working tree, before, while and after
// `dueq migrate` runs. The journals of all of them are judged: nothing lost, early, shared or settled twice.
import { setTimeout as delay } from 'node:timers/promises'
import { afterEach, describe, expect, test } from 'vitest'
import { queryOf } from '../../src/driver.js'
import { type Dueq, defineQueue, migrate } from '../../src/index.js'
import { lookAtSchema } from '../../src/schema.js'
import { statements } from '../../src/statements.js'
import { dueqOn } from '../cli/dueq.js'
import { codeOf } from '../client/client.js'
import { expectClean, startLoad } from '../faults/load.js'
import { killAll } from '../support/processes.js'
import { laterRelease } from './later.js'
import { keptSchema, releases } from './release.js'

afterEach(killAll)

/** A producer that takes turns between two clients. Only what a load uses of it. */
function takingTurns(clients: () => readonly Dueq[]): Dueq {
  let turn = 0
  const next = (): Dueq => clients()[turn++ % clients().length]!
  return { ...clients()[0]!, queue: ((name: string) => next().queue(name)) as Dueq['queue'] }
}

describe.each(releases)('from $version', (release) => {
  test('consumers and producers of both versions run throughout an upgrade', async () => {
    await using kept = await keptSchema(release)
    const [old, current] = [kept.old(), kept.current()]
    await old.ensure([defineQueue('load', { lease: '10s', backoff: { base: '0s', max: '0s' } })])
    const { error } = await lookAtSchema(queryOf(kept.sql), statements(kept.schema), kept.schema)
    let isUpgraded = !error
    await using load = await startLoad({
      sql: kept.sql,
      schema: kept.schema,
      queue: 'load',
      leaseMs: 10_000,
      producer: takingTurns(() => (isUpgraded ? [old, current] : [old])),
      rate: 150,
      consumers: [kept.url],
      client: release.clientPath,
    })
    // The new client on the old schema, where it can work with that; else it starts when it can.
    if (!error) await load.start(kept.url)
    await load.goesOn()

    const migrated = await dueqOn(kept)('migrate', '--json')
    expect(migrated).toMatchObject({ code: 0, stderr: '' })
    expect(migrated.json<{ applied: string[] }>().applied).not.toEqual([])
    if (error) await load.start(kept.url)
    isUpgraded = true
    await load.goesOn()

    // Once is luck. Releases whose functions differ in a comment only: all are dropped and made again each time.
    for (let round = 1; round <= 4; round++) {
      await using later = await laterRelease({ 'engine/85_later.sql': `-- ${round}` })
      const { applied } = await migrate({ url: kept.url, schema: kept.schema, directory: later.directory })
      expect(applied).toHaveLength(1)
      await delay(200)
    }
    await kept.upgrade()

    // Deployments end, one process after the other; the old ones may start again meanwhile.
    const { migrate: oldMigrate } = await release.client()
    expect(await codeOf(oldMigrate({ url: kept.url, schema: kept.schema, directory: 'migrations' }))).toBe(
      'schema.newer',
    )
    await load.start(kept.url, release.clientPath)
    await load.terminate(load.consumers[0]!)
    await load.goesOn()

    const verdict = await load.finish()
    expectClean(verdict, `upgrade from ${release.version}`)
    expect(load.counts.unknown).toBe(0)
    expect(load.lines(({ failed, code }) => failed !== undefined || /^(schema|database)\./.test(code ?? ''))).toEqual(
      [],
    )
  })
})
