// Whether this client and the schema in the database fit. Looked at before the first statement, once.
import type { Query } from './driver.js'
import { DueqError, fromDatabase } from './errors.js'
import type { Statements } from './statements.js'

/** The schema generation this client speaks, and the first revision of it that it can work with. */
const generation = 1
const firstRevision = 1

/** Makes a Query that looks at the schema first. A look that failed is repeated by the next statement. */
export function checkingSchema(query: Query, statements: Statements, schema: string): Query {
  let isChecked = false
  let checking: Promise<void> | undefined
  const check = async (): Promise<void> => {
    try {
      checkVersion(schema, await statements.schemaVersion(query))
      isChecked = true
    } catch (error) {
      throw schemaError(schema, error)
    } finally {
      checking = undefined
    }
  }
  return async (text, params) => {
    if (!isChecked) await (checking ??= check())
    return query(text, params)
  }
}

// --- internal ---

function checkVersion(schema: string, version: number): void {
  const first = generation * 100 + firstRevision
  if (version < first)
    throw new DueqError(
      'schema.older',
      `Schema "${schema}" has version ${version}, this version of dueq needs ${first}. Run \`npx dueq migrate\`.`,
    )
  if (version >= (generation + 1) * 100)
    throw new DueqError(
      'schema.newer',
      `Schema "${schema}" has version ${version}, which this version of dueq cannot work with. Upgrade the dueq package.`,
    )
}

/** Without the function that tells the version there is no schema of dueq. */
function schemaError(schema: string, error: unknown): DueqError {
  const cause = fromDatabase(error)
  if (cause.code !== 'schema.missing') return cause
  return new DueqError(
    'schema.missing',
    `There is no dueq in schema "${schema}" of this database. Run \`npx dueq migrate${schema === 'dueq' ? '' : ` --schema ${schema}`}\` (or check the \`schema\` option).`,
    { cause: error, details: { schema } },
  )
}
