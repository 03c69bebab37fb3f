// An error for want of rights says which role to ask for. PostgreSQL names the function or view in the language of the server,
// so it is found by its own name in the text; the code stays that of the SQLSTATE.
import { fromDatabase } from './database-errors.js'
import type { Query } from './driver.js'
import { DueqError } from './errors.js'
import { roleNames, rolesFor } from './privileges.js'
import { fullRoleName } from './roles.js'

/** The error, with the roles that would do; as it came where it is about something else. Their short names: `details.roles`. */
export function namingRole<Thrown>(error: Thrown, schema: string): Thrown | DueqError {
  const cause = fromDatabase(error)
  if (cause.details['sqlState'] !== '42501') return error
  const words = [...deniedText(cause).matchAll(/\w+/g)].map(([word]) => word)
  const object = words.findLast((word) => rolesFor(word) !== undefined)
  const isSchema = words.includes(schema) && object === undefined
  const roles = object !== undefined ? (rolesFor(object) ?? []) : isSchema ? roleNames : []
  if (roles.length === 0) return error
  const names = roles.map((role) => `\`${fullRoleName(schema, role)}\``).join(' or ')
  const denied = deniedText(cause)
  return new DueqError(
    'database.permission',
    `${denied.charAt(0).toUpperCase()}${denied.slice(1)}. Ask for the role ${names} (or what it is called with another prefix): \`dueq roles --grant <login>=${isSchema ? '<role>' : roles.at(-1)}\`.`,
    { cause: cause.cause, details: { ...cause.details, roles } },
  )
}

/** A Query whose errors do. */
export function namingRoles(query: Query, schema: string): Query {
  return (...statement) =>
    query(...statement).catch((error: unknown) => {
      throw namingRole(error, schema)
    })
}

// --- internal ---

/** What PostgreSQL said. */
function deniedText({ cause, message }: DueqError): string {
  return cause instanceof Error ? cause.message : message
}
