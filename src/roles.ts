// The roles of a schema as plain SQL, for `dueq roles` and for migration tools. Roles are of the whole cluster, so their names
// begin with that of the schema, or with a prefix where two databases of a cluster have a schema of that name each.
//
// Invariants: every text can be run again; it is one transaction, so nobody meets a half of it; names are checked or quoted.
import type { Client } from 'pg'
import { DueqError } from './errors.js'
import { describe, schemaName } from './options.js'
import { functionPrivileges, type RoleName, roleNames, viewPrivileges } from './privileges.js'

/** What is to be done with the roles of a schema. */
export type RolesChange = {
  readonly schema: string
  /** What the names of the roles begin with. @default the name of the schema */
  readonly prefix?: string
  /** Who becomes a member of what. */
  readonly grant?: readonly Membership[]
  /** Who is a member no more. */
  readonly revoke?: readonly Membership[]
  /** Takes all rights away and drops the roles, except those that have rights elsewhere. */
  readonly drop?: boolean
}

/** A login, and the roles it gets or loses. */
export type Membership = { readonly login: string; readonly roles: readonly RoleName[] }

/** The full name of a role: `dueq_producer`. */
export function fullRoleName(prefix: string, role: RoleName): string {
  return `${prefix}_${role}`
}

/** The statements, a transaction of their own. */
export function rolesSql(change: RolesChange): string {
  return ['begin;', ...statementsOf(change), 'commit;', ''].join('\n')
}

/** Reads `app=producer,consumer`. Raises `option.invalid`. */
export function membership(text: string): Membership {
  const at = text.lastIndexOf('=')
  const [login, names] = [text.slice(0, at), text.slice(at + 1).split(',')]
  const roles = roleNames.filter((role) => names.includes(role))
  if (at < 1 || login.length > 63 || login.includes('\0') || roles.length < names.length)
    throw new DueqError(
      'option.invalid',
      `Expected a login and its roles (${roleNames.join(', ')}), like app=producer,consumer, got ${describe(text)}.`,
      { details: { option: 'grant' } },
    )
  return { login, roles }
}

/**
 * Brings the rights of the roles up to date with this package, where `dueq roles` has made any: for the end of a migration. Needs
 * the rights of the owner, and creates no role.
 */
export async function refreshRoles(client: Pick<Client, 'query'>, schema: string): Promise<void> {
  const found = await client.query('select pg_catalog.to_regclass($1) is not null as found', [
    `"${schema}".role_grants`,
  ])
  if (!found.rows[0].found) return
  const { rows } = await client.query<{ prefix: string }>(
    `select distinct pg_catalog.regexp_replace(grantee, '_[a-z]+$', '') as prefix from "${schema}".role_grants`,
  )
  for (const { prefix } of rows) await client.query(grantStatements(schema, prefix).join('\n'))
}

// --- internal ---

function statementsOf({ schema, prefix = schema, grant = [], revoke = [], drop = false }: RolesChange): string[] {
  const names = roleNames.map((role) => fullRoleName(prefixName(prefix), role))
  const members = [
    ...revoke.flatMap(({ login, roles }) =>
      roles.map((role) => `revoke ${quoted(fullRoleName(prefix, role))} from ${quoted(login)};`),
    ),
    ...grant.flatMap(({ login, roles }) =>
      roles.map((role) => `grant ${quoted(fullRoleName(prefix, role))} to ${quoted(login)};`),
    ),
  ]
  const lock = `select pg_catalog.pg_advisory_xact_lock(pg_catalog.hashtextextended('dueq roles', 0));`
  if (drop) return [lock, ...dropStatements(schemaName(schema), names)]
  return [lock, createRoles(names), ...grantStatements(schemaName(schema), prefix), ...members]
}

/** A prefix is as a schema's name is: `_producer` behind 50 characters fits into the 63 of an identifier. */
function prefixName(prefix: string): string {
  try {
    return schemaName(prefix)
  } catch (error) {
    throw new DueqError(
      'option.invalid',
      `Expected \`prefix\` to be 1 to 50 lower-case letters, digits and _, not beginning with a digit or pg_, got ${describe(prefix)}.`,
      { cause: error, details: { option: 'prefix' } },
    )
  }
}

function createRoles(names: readonly string[]): string {
  return `do $$
declare
  v_role pg_catalog.text;
begin
  foreach v_role in array array[${names.map(literal).join(', ')}] loop
    begin
      if pg_catalog.to_regrole(v_role) is null then
        execute pg_catalog.format('create role %I nologin', v_role);
      end if;
    exception when duplicate_object or unique_violation then -- made from another database of the cluster, just now
    end;
  end loop;
end $$;`
}

/** Writes the table of grants, and makes it so. Roles of another prefix keep theirs. */
function grantStatements(schema: string, prefix: string): string[] {
  const rows = roleNames.flatMap((role) => {
    const grantee = literal(fullRoleName(prefix, role))
    const functions = Object.entries(functionPrivileges)
      .filter(([, roles]) => roles.includes(role))
      .map(([name]) => `  (${grantee}, 'execute', ${literal(name)}, null)`)
    const views = Object.entries(viewPrivileges).flatMap(([name, roles]) => {
      const reading = roles[role]
      if (reading === undefined) return []
      return [`  (${grantee}, 'select', ${literal(name)}, ${reading === 'all' ? 'null' : `'{${reading.join()}}'`})`]
    })
    return [...functions, ...views]
  })
  return [
    withoutGrants(
      schema,
      roleNames.map((role) => fullRoleName(prefix, role)),
    ),
    `insert into "${schema}".role_grants (grantee, privilege, object, columns) values\n${rows.join(',\n')};`,
    `select "${schema}".restore_grants();`,
  ]
}

function dropStatements(schema: string, names: readonly string[]): string[] {
  const text = `do $$
declare
  v_role pg_catalog.text;
begin
  foreach v_role in array array[${names.map(literal).join(', ')}] loop
    continue when pg_catalog.to_regrole(v_role) is null;
    execute pg_catalog.format('revoke all on all functions in schema "${schema}" from %I', v_role);
    execute pg_catalog.format('revoke all on all tables in schema "${schema}" from %I', v_role);
    execute pg_catalog.format('revoke all on all sequences in schema "${schema}" from %I', v_role);
    execute pg_catalog.format('revoke all on schema "${schema}" from %I', v_role);
    begin
      execute pg_catalog.format('drop role %I', v_role);
    exception when dependent_objects_still_exist then
      raise notice '% has rights elsewhere, and stays', v_role;
    end;
  end loop;
end $$;`
  return [withoutGrants(schema, names), text]
}

function withoutGrants(schema: string, names: readonly string[]): string {
  const list = names.map(literal).join(', ')
  return `delete from "${schema}".role_grants where grantee operator(pg_catalog.=) any (array[${list}]::pg_catalog.text[]);`
}

function quoted(name: string): string {
  return `"${name.replaceAll('"', '""')}"`
}

function literal(text: string): string {
  return `'${text.replaceAll("'", "''")}'`
}
