// What makes an upgrade possible at all: what was released is not edited, and what was changed is told.
import { mkdirSync, readFileSync, rmSync, statSync } from 'node:fs'
import { dirname, join } from 'node:path'
import pg from 'pg'
import { afterAll, beforeAll, describe, expect, inject, test } from 'vitest'
import { keepRelease } from '../../scripts/keep-release.mjs'
import { dumpSchema } from '../../scripts/schema-dump.mjs'
import { migrationSql, migrationStatus } from '../../src/migrate.js'
import { isEngine, isPartOfEngine, ownDirectory, readMigrations } from '../../src/migrations.js'
import { freshSchema } from '../support/database.js'
import { lifeOn } from '../surroundings/life.js'
import { type KeptSchema, keptSchema, releaseIn, releases } from './release.js'

/** The migrations in the SQL of a release, by name. */
function migrationsOf(text: string): ReadonlyMap<string, string> {
  const parts = text.split(/^-- (\d{4}_\w+)\n/m).slice(1)
  const clean = (sql: string): string =>
    sql.replace(/^(insert into migrations|create table migrations|commit;|-- What `dueq migrate`).*$/gm, '').trim()
  return new Map(parts.flatMap((name, i) => (i % 2 === 0 ? [[name, clean(parts[i + 1]!)]] : [])))
}

const root = join(import.meta.dirname, '../..')
const own = await readMigrations(ownDirectory())
let client: pg.Client
beforeAll(async () => {
  client = new pg.Client({ connectionString: inject('databaseUrl') })
  await client.connect()
})
afterAll(() => client.end())

test('numbers are used once, in order, and none of those that the first release used for functions', () => {
  const numbers = own.numbered.map(({ name }) => name.slice(0, 4))
  expect(new Set(numbers).size).toBe(numbers.length)
  expect(own.numbered.filter(({ name }) => isPartOfEngine(name))).toEqual([])
})

test('the engine makes functions and views only: what it is run on has tables', () => {
  expect(own.engine.sql.match(/^(create|alter|drop) (?!or replace (function|view)\b).*/gm)).toBeNull()
})

test('what `npm run release:keep` writes is the release that was built: its schema, and its client at work on that', async () => {
  const directory = join(root, 'test', `.programs/kept-${process.pid}`)
  mkdirSync(dirname(directory), { recursive: true })
  try {
    await keepRelease(directory)
    await using built = await keptSchema(releaseIn(directory))
    await using fresh = await freshSchema()
    expect(await dumpSchema(client, built.schema)).toBe(await dumpSchema(client, fresh.schema))
    expect(await built.upgrade()).toEqual([])
    expect(await lifeOn(built.old())).toEqual(await lifeOn(built.current()))
    expect(statSync(built.release.clientPath).size).toBeLessThan(150_000)
  } finally {
    rmSync(directory, { recursive: true, force: true })
  }
})

describe.each(releases)('from $version', (release) => {
  const kept = migrationsOf(release.schemaSql('__schema__'))

  test('a migration that was released is as it was: a change of tables is a migration of its own', () => {
    const released = [...kept].filter(([name]) => !isEngine(name) && !isPartOfEngine(name))
    expect(released.length).toBeGreaterThan(0)
    for (const [name, text] of released)
      expect(own.numbered.find((one) => one.name === name)?.sql.trim(), `migrations/${name}.sql`).toBe(text)
  })

  test('functions that differ from those that were released have a higher schema_version()', () => {
    const isSame = kept.has(own.engine.name)
    expect(own.engine.version).toBeGreaterThanOrEqual(release.schemaVersion + (isSame ? 0 : 1))
  })

  const upgrades: readonly (readonly [string, (old: KeptSchema) => Promise<unknown>])[] = [
    ['`migrate`', (old) => old.upgrade()],
    [
      'the SQL of `migrate --sql --after`',
      async (old) => {
        const after = [...kept.keys()].findLast((name) => !isEngine(name) && !isPartOfEngine(name))
        await client.query(await migrationSql({ schema: old.schema, after }))
      },
    ],
  ]
  test.each(upgrades)('a schema upgraded by %s is the same as a new one', async (_, upgrade) => {
    await using old = await keptSchema(release)
    await using fresh = await freshSchema()
    const status = () => migrationStatus({ url: old.url, schema: old.schema })
    expect((await status()).pending).not.toEqual([])
    await upgrade(old)
    expect(await status()).toMatchObject({ pending: [], newer: [] })
    expect(await dumpSchema(client, old.schema)).toBe(await dumpSchema(client, fresh.schema))
    expect(await old.upgrade()).toEqual([])
  })

  test('its client is small, and is the whole of it', () => {
    expect(statSync(release.clientPath).size).toBeLessThan(150_000)
    expect(readFileSync(release.clientPath, 'utf8')).not.toMatch(/from\s*"\./)
  })
})
