/**
 * The one PostgreSQL of a test run, and the pooler before it: started before the first file, stopped after the last.
 *
 *     DUEQ_TEST_DATABASE_URL           a server that runs already
 *     DUEQ_TEST_BACKEND=testcontainers a container (also when the embedded binaries are missing)
 *     otherwise                        the embedded binaries
 *
 * `variant.ts` reads these and the other variables, docs/testing.md explains them.
 */
import postgres from 'postgres'
import type { TestProject } from 'vitest/node'
import { EmbeddedUnavailableError, startEmbedded } from '../../src/cli/embedded.js'
import { startPgBouncer } from './pgbouncer.js'
import { variant } from './variant.js'

declare module 'vitest' {
  export interface ProvidedContext {
    /** The URL of the test server, as a role that may create schemas. */
    readonly databaseUrl: string
    /** Where dueq sends its statements: the pooler of the run, else the test server. */
    readonly dueqUrl: string
    /** The major version of the test server. */
    readonly serverMajor: number
  }
}

type Backend = { readonly name: string; readonly url: string; readonly stop: () => Promise<unknown> }

// The tests hold more sessions than the default allows; their data may be lost with the machine.
const settings = { fsync: 'off', max_connections: '200' }

export default async function setup(project: TestProject): Promise<() => Promise<void>> {
  const stops: (() => Promise<unknown>)[] = []
  const stop = async (): Promise<void> => {
    for (const one of stops.reverse()) await one()
  }
  try {
    const backend = await chooseBackend()
    stops.push(backend.stop)
    const version = await versionOf(backend.url)
    const pooler = await choosePooler(backend.url)
    if (pooler) stops.push(pooler.stop)
    const driver = variant.driver === 'pg' ? ', dueq over a pg pool' : ''
    console.log(`Tests run on PostgreSQL ${version} (${backend.name})${pooler ? `, ${pooler.name}` : ''}${driver}`)
    project.provide('databaseUrl', backend.url)
    project.provide('dueqUrl', pooler?.url ?? backend.url)
    project.provide('serverMajor', Number.parseInt(version, 10))
  } catch (error) {
    await stop()
    throw error
  }
  return stop
}

async function chooseBackend(): Promise<Backend> {
  const { databaseUrl: url, backend, major } = variant
  if (url) return { name: 'DUEQ_TEST_DATABASE_URL', url, stop: async () => {} }
  if (backend === 'testcontainers') return startContainer(major)
  try {
    const server = await startEmbedded({ settings, ...(major === undefined ? {} : { major }) })
    return { name: 'embedded', url: server.url, stop: () => server.stop() }
  } catch (error) {
    if (backend === 'embedded' || !(error instanceof EmbeddedUnavailableError)) throw error
    return await startContainer(major).catch((containerError: unknown) => {
      throw new Error(
        `No PostgreSQL for the tests. Embedded: ${error.message} Container: ${containerError}. Or set DUEQ_TEST_DATABASE_URL.`,
        { cause: containerError },
      )
    })
  }
}

async function choosePooler(serverUrl: string): Promise<Backend | undefined> {
  if (variant.pooler === undefined) return undefined
  const listen = `LISTEN ${variant.listen === 'direct' ? 'direct' : 'through it'}`
  if (variant.pooler !== 'pgbouncer')
    return { name: `through DUEQ_TEST_POOLER, ${listen}`, url: variant.pooler, stop: async () => {} }
  const { url, version, stop } = await startPgBouncer(serverUrl)
  return { name: `through PgBouncer ${version}, ${listen}`, url, stop }
}

async function startContainer(major = 18): Promise<Backend> {
  const { PostgreSqlContainer } = await import('@testcontainers/postgresql')
  const command = ['postgres', ...Object.entries(settings).flatMap(([key, value]) => ['-c', `${key}=${value}`])]
  const container = await new PostgreSqlContainer(`postgres:${major}`).withCommand(command).start()
  return { name: 'testcontainers', url: container.getConnectionUri(), stop: () => container.stop() }
}

async function versionOf(url: string): Promise<string> {
  const sql = postgres(url, { max: 1, connect_timeout: 10, onnotice: () => {} })
  try {
    const [row] = await sql<{ version: string }[]>`select current_setting('server_version') as version`
    return row!.version
  } finally {
    await sql.end({ timeout: 1 })
  }
}
