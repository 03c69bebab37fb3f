/**
 * Which surroundings this run of the tests is for, and how long tests last that can last as long as one likes: read from the
 * environment, here and nowhere else (docs/testing.md has the table).
 *
 * The server is one for all tests. The driver, the pooler and where LISTEN goes concern the connections of dueq only:
 * sessions of the tests themselves, the creation of schemas and their migration go to the server, always.
 */

export type Variant = {
  /** A server that runs already, as a role that may create schemas. */
  readonly databaseUrl: string | undefined
  readonly backend: 'embedded' | 'testcontainers' | undefined
  /** PostgreSQL's major version for a server that the run starts, 14 to 18. */
  readonly major: number | undefined
  /** What dueq runs its statements on: a URL, which it opens with postgres.js, or a `pg` pool. */
  readonly driver: 'postgres' | 'pg'
  /** What stands before the server: a PgBouncer that the run starts, or the URL of one that runs already. */
  readonly pooler: string | undefined
  /** Where dueq listens when there is a pooler. */
  readonly listen: 'direct' | 'pooler'
  /** Whether no notification reaches dueq, because its LISTEN goes through the pooler. */
  readonly isSilent: boolean
  /** How long each load, and each run of ever the same, lasts; undefined: as short as still shows something. */
  readonly seconds: number | undefined
}

export const variant: Variant = readVariant(process.env)

// --- internal ---

function readVariant(env: NodeJS.ProcessEnv): Variant {
  const oneOf = <T extends string>(name: string, values: readonly T[]): T | undefined => {
    const text = env[name]
    const found = values.find((value) => value === text)
    if (text && found === undefined)
      throw new Error(`Expected ${name} to be one of ${values.join(', ')}, got '${text}'`)
    return found
  }
  const pooler = env['DUEQ_TEST_POOLER'] || undefined
  if (pooler !== undefined && pooler !== 'pgbouncer' && !URL.canParse(pooler))
    throw new Error('Expected DUEQ_TEST_POOLER to be pgbouncer, or the URL of a pooler')
  const listen = oneOf('DUEQ_TEST_LISTEN', ['direct', 'pooler']) ?? 'direct'
  const seconds = env['DUEQ_TEST_SECONDS'] ? Number(env['DUEQ_TEST_SECONDS']) : undefined
  if (seconds !== undefined && !(seconds > 0)) throw new Error('Expected DUEQ_TEST_SECONDS to be a number above 0')
  const major = oneOf('DUEQ_TEST_PG_MAJOR', ['14', '15', '16', '17', '18'])
  return {
    databaseUrl: env['DUEQ_TEST_DATABASE_URL'] || undefined,
    backend: oneOf('DUEQ_TEST_BACKEND', ['embedded', 'testcontainers']),
    major: major === undefined ? undefined : Number(major),
    driver: oneOf('DUEQ_TEST_DRIVER', ['postgres', 'pg']) ?? 'postgres',
    pooler,
    listen,
    isSilent: pooler !== undefined && listen === 'pooler',
    seconds,
  }
}
