// Clients and schemas of different versions: they work together, or say at once what to do.
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { queryOf } from '../../src/driver.js'
import { type Dueq, defineQueue } from '../../src/index.js'
import { lookAtSchema } from '../../src/schema.js'
import { statements } from '../../src/statements.js'
import { codeOf } from '../client/client.js'
import { startRole } from '../support/role.js'
import { lifeOn } from '../surroundings/life.js'
import { type KeptSchema, keptSchema, releases } from './release.js'

/** All verbs of the client; without how many checks its doctor makes, and the version of the schema. */
async function life(dueq: Dueq): Promise<unknown> {
  return ((await lifeOn(dueq)) as unknown[]).slice(0, -2)
}

describe.each(releases)('from $version', (release) => {
  let kept: KeptSchema
  let upgraded: KeptSchema
  beforeAll(async () => {
    kept = await keptSchema(release)
    upgraded = await keptSchema(release)
    await upgraded.upgrade()
  })
  afterAll(() => Promise.all([kept?.close(), upgraded?.close()]))

  test('its client works with the new schema, every verb of it', async () => {
    expect(await life(upgraded.old())).toEqual(await life(upgraded.current()))
  })

  test('so it does as a role with the rights that it was granted there, and so does the new client', async () => {
    await using test = await keptSchema(release)
    await using role = await startRole(test)
    await test.upgrade()
    expect(await life(test.old({ url: role.url }))).toEqual(await life(test.current({ url: role.url })))
  })

  test('the new client works with its schema, every verb, or refuses it at once and says what to do', async () => {
    const { error } = await lookAtSchema(queryOf(kept.sql), statements(kept.schema), kept.schema)
    const dueq = kept.current()
    if (!error) expect(await life(dueq)).toEqual(await life(kept.old()))
    else {
      const enqueued = dueq.queue('any').enqueue(1)
      await expect(enqueued).rejects.toMatchObject({
        code: 'schema.older',
        message: expect.stringMatching(/npx dueq migrate/),
      })
      expect(await codeOf(dueq.queue('any').consume(() => {}).stopped)).toBe('schema.older')
    }
  })

  test('its `migrate` leaves the new schema as it is, and says that the package is old', async () => {
    const { migrate: oldMigrate } = await release.client()
    const directory = new URL('../../migrations', import.meta.url).pathname
    const migrating = oldMigrate({ url: upgraded.url, schema: upgraded.schema, directory })
    await expect(migrating).rejects.toMatchObject({
      code: 'schema.newer',
      message: expect.stringMatching(/Upgrade the dueq package/),
    })
    expect(await upgraded.upgrade()).toEqual([])
  })

  test('a schema of the next generation ends consumers that run, for good; those of the working tree say why', async () => {
    await using test = await keptSchema(release)
    await test.upgrade()
    const queue = defineQueue('q', { pollInterval: '100ms' })
    const [old, current] = [test.old(), test.current()]
    await current.ensure([queue])
    const consumers = [old, current].map((dueq) => dueq.queue(queue).consume(() => {}))
    for (const consumer of consumers) await expect.poll(() => consumer.status.lastClaimAt).not.toBeNull()
    await test.sql.unsafe(`
      create or replace function ${test.schema}.schema_version() returns integer language sql immutable as 'select 201';
      alter function ${test.schema}.poll rename to poll_2`)
    const codes = await Promise.all(consumers.map(({ stopped }) => codeOf(stopped)))
    expect(codes[0]).toMatch(/^schema\./)
    expect(codes[1]).toBe('schema.newer')
    const late = await Promise.all([test.old(), test.current()].map((dueq) => codeOf(dueq.queue(queue).enqueue(1))))
    expect(late).toEqual(['schema.newer', 'schema.newer'])
  })
})
