// docs/schema.sql is what a database holds after the migrations. Generated on PostgreSQL 18; a few words differ on older ones.
import { readFileSync } from 'node:fs'
import pg from 'pg'
import { afterAll, expect, test } from 'vitest'
import { dumpSchema } from '../scripts/schema-dump.mjs'
import { migrationSql } from '../src/migrate.js'
import { freshSchema } from './support/database.js'

const migrated = await freshSchema()
const plain = await freshSchema({ migrate: false })
const client = new pg.Client({ connectionString: migrated.url })
await client.connect()
const version = Number((await client.query('show server_version_num')).rows[0].server_version_num)
afterAll(async () => {
  await client.end()
  await migrated.close()
  await plain.close()
})

// Before 16 the columns of a view are qualified even where it reads one table.
const comparable = (text: string): string => (version >= 160_000 ? text : text.replace(/\b[a-z]\.(?=\w)/g, ''))

test('docs/schema.sql agrees with the migrations (else: npm run schema:dump)', async () => {
  const committed = readFileSync(new URL('../docs/schema.sql', import.meta.url), 'utf8')
  expect(comparable(await dumpSchema(client, migrated.schema))).toBe(comparable(committed))
})

test('the plain SQL of `migrate --sql` makes the same schema', async () => {
  await client.query(await migrationSql({ schema: plain.schema }))
  expect(await dumpSchema(client, plain.schema)).toBe(await dumpSchema(client, migrated.schema))
})
