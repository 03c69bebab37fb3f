/**
 * The releases that the repository keeps (releases/README.md), as a test needs them: a schema as that release made it, and
 * clients of that release beside those of the working tree.
 */
import { readdirSync, readFileSync } from 'node:fs'
import { basename, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { type ConnectOptions, type Dueq, migrate } from '../../src/index.js'
import { connectVariant } from '../client/connection.js'
import { freshSchema, type TestSchema } from '../support/database.js'
import { openSession } from '../support/sessions.js'

export type Release = {
  readonly version: string
  /** What `schema_version()` says there. */
  readonly schemaVersion: number
  /** The SQL that makes its schema. */
  schemaSql(schema: string): string
  /** Its client, as a path to import. */
  readonly clientPath: string
  /** Its library. What it exports is taken to be what the working tree exports, as far as tests use it. */
  client(): Promise<typeof import('../../src/index.js')>
}

const folder = fileURLToPath(new URL('../../releases', import.meta.url))

/** All kept releases, oldest first. */
export const releases: readonly Release[] = readdirSync(folder, { withFileTypes: true })
  .filter((entry) => entry.isDirectory())
  .map(({ name }) => name)
  .sort((a, b) => a.localeCompare(b, 'en', { numeric: true }))
  .map((version) => releaseIn(join(folder, version)))

/** The release in a directory that is named after its version. */
export function releaseIn(directory: string): Release {
  const text = readFileSync(join(directory, 'schema.sql'), 'utf8')
  const clientPath = join(directory, 'client.mjs')
  return {
    version: basename(directory),
    schemaVersion: Number(/function schema_version\(\)[^$]*\$\$ select (\d+) \$\$/.exec(text)![1]),
    schemaSql: (schema) => text.replaceAll('__schema__', schema),
    clientPath,
    client: () => import(clientPath),
  }
}

export type KeptSchema = TestSchema & {
  readonly release: Release
  /** A client of the release. */
  old(options?: ConnectOptions): Dueq
  /** A client of the working tree. */
  current(options?: ConnectOptions): Dueq
  /** Migrates to the working tree. */
  upgrade(): Promise<readonly string[]>
}

/** A schema as the release made it. */
export async function keptSchema(release: Release): Promise<KeptSchema> {
  const test = await freshSchema({ migrate: false })
  await using session = await openSession(test.url)
  await session.query(release.schemaSql(test.schema))
  const { connect: connectOld } = await release.client()
  const clients: Dueq[] = []
  const opened = (dueq: Dueq): Dueq => {
    clients.push(dueq)
    return dueq
  }
  const given = (options: ConnectOptions): ConnectOptions => ({ schema: test.schema, onEvent: () => {}, ...options })
  const close = async (): Promise<void> => {
    await Promise.all(clients.map((dueq) => dueq.close({ deadline: '2s' })))
    await test.close()
  }
  return {
    ...test,
    release,
    old: (options = {}) => opened(connectVariant(given(options), connectOld)),
    current: (options = {}) => opened(connectVariant(given(options))),
    upgrade: async () => (await migrate({ url: test.url, schema: test.schema })).applied,
    close,
    [Symbol.asyncDispose]: close,
  }
}
