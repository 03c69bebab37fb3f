// Whether this client and the schema in the database fit. Looked at before the first statement, and again where a function is
// missing. A schema that is migrated while statements run is no trouble: one that met a function just as it was replaced is
// sent again.

import { fromDatabase } from './database-errors.js'
import type { Query, Row } from './driver.js'
import { DueqError } from './errors.js'
import { namingRole } from './role-missing.js'
import type { Statements } from './statements.js'

/** The schema generation this client speaks, and the first revision of it that it can work with. */
const generation = 1
const firstRevision = 2

/**
 * Makes Queries that look at the schema first, all together once, by `asking`. A look that failed is repeated by the next
 * statement.
 */
export function checkingSchema(asking: Query, statements: Statements, schema: string): (query: Query) => Query {
  let isChecked = false
  let checking: Promise<void> | undefined
  const check = async (): Promise<void> => {
    try {
      const { error } = await lookAtSchema(asking, statements, schema)
      if (error) throw error
      isChecked = true
    } finally {
      checking = undefined
    }
  }
  const again = async (query: Query, cause: unknown, statement: Parameters<Query>): Promise<readonly Row[]> => {
    let latest = cause
    for (const pauseMs of migrationPausesMs) {
      if (!isOfMigration(latest)) throw namingRole(latest, schema)
      await new Promise((resolve) => setTimeout(resolve, pauseMs))
      try {
        return await query(...statement)
      } catch (error) {
        latest = error
      }
    }
    // It lasts, so the function is not there for this client: has the schema become another since it was looked at?
    const seen = isOfMigration(latest)
      ? await lookAtSchema(asking, statements, schema).catch(() => undefined)
      : undefined
    throw seen?.error ?? namingRole(latest, schema)
  }
  // Once all is well a statement passes without a function of its own to wait in.
  return (query) => {
    const run: Query = (...statement) => query(...statement).catch((error: unknown) => again(query, error, statement))
    return (...statement) => (isChecked ? run(...statement) : (checking ??= check()).then(() => run(...statement)))
  }
}

/**
 * The version of the schema, and the error that it means for this client, if any: `schema.older`, `schema.newer`.
 * Raises `schema.missing`, `database.*`.
 */
export async function lookAtSchema(
  query: Query,
  statements: Statements,
  schema: string,
): Promise<{ readonly version: number; readonly error?: DueqError }> {
  try {
    const version = await statements.schemaVersion(query)
    const error = versionError(schema, version)
    return error ? { version, error } : { version }
  } catch (error) {
    throw schemaError(schema, error)
  }
}

// --- internal ---

/** Each try may meet the same migration: other sessions are told of its commit a little after they can see it. */
const migrationPausesMs = [2, 20, 200]

/**
 * What a statement fails with, undone, when a migration commits between its planning and its start: "cache lookup failed
 * for function" (XX000, in a few of a hundred migrations under load), or a plan or a function that is gone. Others that
 * look the same just fail a little later. But poolers (Supavisor, Pgpool) say XX000 of a connection that they lost, perhaps
 * after the commit; so there the text decides, which PostgreSQL does not translate.
 */
function isOfMigration(error: unknown): boolean {
  const { details, message } = fromDatabase(error)
  const { sqlState } = details
  return (
    sqlState === '0A000' ||
    sqlState === '42883' ||
    (sqlState === 'XX000' && /\bcache lookup failed\b|\bOID\b/i.test(message))
  )
}

function versionError(schema: string, version: number): DueqError | undefined {
  const first = generation * 100 + firstRevision
  if (version < first)
    return new DueqError(
      'schema.older',
      `Schema "${schema}" has version ${version}, this version of dueq needs ${first}. Run \`npx dueq migrate\`.`,
    )
  if (version >= (generation + 1) * 100)
    return new DueqError(
      'schema.newer',
      `Schema "${schema}" has version ${version}, which this version of dueq cannot work with. Upgrade the dueq package.`,
    )
  return undefined
}

/** Without the function that tells the version there is no schema of dueq. */
function schemaError(schema: string, error: unknown): DueqError {
  const cause = fromDatabase(error)
  if (cause.code !== 'schema.missing') return namingRole(cause, schema)
  return new DueqError(
    'schema.missing',
    `There is no dueq in schema "${schema}" of this database. Run \`npx dueq migrate${schema === 'dueq' ? '' : ` --schema ${schema}`}\` (or check the \`schema\` option).`,
    { cause: error, details: { schema } },
  )
}
