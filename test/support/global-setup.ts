/**
 * The one PostgreSQL of a test run: started before the first file, stopped after the last.
 *
 *     DUEQ_TEST_DATABASE_URL           a server that runs already
 *     DUEQ_TEST_BACKEND=testcontainers a container (also when the embedded binaries are missing)
 *     otherwise                        the embedded binaries
 *
 * `DUEQ_TEST_PG_MAJOR` (14 to 18) selects the version for the last two.
 */
import postgres from 'postgres'
import type { TestProject } from 'vitest/node'
import { EmbeddedUnavailableError, startEmbedded } from '../../src/cli/embedded.js'

declare module 'vitest' {
  export interface ProvidedContext {
    /** The URL of the test server, as a role that may create schemas. */
    readonly databaseUrl: string
  }
}

type Backend = { readonly name: string; readonly url: string; readonly stop: () => Promise<unknown> }

// The tests hold more sessions than the default allows; their data may be lost with the machine.
const settings = { fsync: 'off', max_connections: '200' }

export default async function setup(project: TestProject): Promise<() => Promise<void>> {
  const backend = await chooseBackend()
  try {
    console.log(`Tests run on PostgreSQL ${await versionOf(backend.url)} (${backend.name})`)
  } catch (error) {
    await backend.stop()
    throw error
  }
  project.provide('databaseUrl', backend.url)
  return async () => {
    await backend.stop()
  }
}

async function chooseBackend(): Promise<Backend> {
  const url = process.env['DUEQ_TEST_DATABASE_URL']
  if (url) return { name: 'DUEQ_TEST_DATABASE_URL', url, stop: async () => {} }
  const major = requestedMajor()
  const wanted = process.env['DUEQ_TEST_BACKEND'] ?? ''
  if (!['', 'embedded', 'testcontainers'].includes(wanted)) {
    throw new Error(`Expected DUEQ_TEST_BACKEND to be 'embedded' or 'testcontainers', got '${wanted}'`)
  }
  if (wanted === 'testcontainers') return startContainer(major)
  try {
    const server = await startEmbedded({ settings, ...(major === undefined ? {} : { major }) })
    return { name: 'embedded', url: server.url, stop: () => server.stop() }
  } catch (error) {
    if (wanted === 'embedded' || !(error instanceof EmbeddedUnavailableError)) throw error
    return await startContainer(major).catch((containerError: unknown) => {
      throw new Error(
        `No PostgreSQL for the tests. Embedded: ${error.message} Container: ${containerError}. Or set DUEQ_TEST_DATABASE_URL.`,
        { cause: containerError },
      )
    })
  }
}

async function startContainer(major = 18): Promise<Backend> {
  const { PostgreSqlContainer } = await import('@testcontainers/postgresql')
  const command = ['postgres', ...Object.entries(settings).flatMap(([key, value]) => ['-c', `${key}=${value}`])]
  const container = await new PostgreSqlContainer(`postgres:${major}`).withCommand(command).start()
  return { name: 'testcontainers', url: container.getConnectionUri(), stop: () => container.stop() }
}

function requestedMajor(): number | undefined {
  const text = process.env['DUEQ_TEST_PG_MAJOR']
  if (!text) return undefined
  const major = Number(text)
  if (Number.isInteger(major) && major >= 14 && major <= 18) return major
  throw new Error(`Expected DUEQ_TEST_PG_MAJOR to be a version from 14 to 18, got '${text}'`)
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
