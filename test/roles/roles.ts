/** Real roles on the server of the run: those of `dueq roles` on a schema, and logins that are members of one or of none. */
import { randomBytes } from 'node:crypto'
import pg from 'pg'
import { type RoleName, roleNames } from '../../src/privileges.js'
import { fullRoleName, rolesSql } from '../../src/roles.js'
import type { TestSchema } from '../support/database.js'

/** A member of one role, or of none. */
export type Login = RoleName | 'nobody'
export const logins: readonly Login[] = [...roleNames, 'nobody']

export type Roles = {
  /** The full name of a role. */
  name(role: RoleName): string
  /** The name of a login. */
  login(login: Login): string
  /** The URL of the server, as this login. */
  url(login: Login): string
  /** A session of this login, closed with the others. */
  session(login: Login): Promise<pg.Client>
  [Symbol.asyncDispose](): Promise<void>
}

/** Runs statements that make a transaction of their own, on a connection of their own. */
export async function runScript(url: string, text: string): Promise<void> {
  const client = new pg.Client({ connectionString: url })
  await client.connect()
  try {
    await client.query(text)
  } finally {
    await client.end()
  }
}

export const password = 'f1sh-and-chips'

/** Makes the roles of the schema, and a login for each and for nobody. */
export async function startRoles({ schema, sql, url }: TestSchema): Promise<Roles> {
  const suffix = randomBytes(4).toString('hex')
  const loginName = (login: Login): string => `${schema}_${login}_${suffix}`
  const sessions: pg.Client[] = []
  for (const login of logins) await sql.unsafe(`create role ${loginName(login)} login password '${password}'`)
  const grant = roleNames.map((role) => ({ login: loginName(role), roles: [role] }))
  await runScript(url, rolesSql({ schema, grant }))
  const urlOf = (login: Login): string => Object.assign(new URL(url), { username: loginName(login), password }).href
  return {
    name: (role) => fullRoleName(schema, role),
    login: loginName,
    url: urlOf,
    async session(login) {
      const client = new pg.Client({ connectionString: urlOf(login) })
      client.on('error', () => {})
      await client.connect()
      sessions.push(client)
      return client
    },
    async [Symbol.asyncDispose]() {
      await Promise.all(sessions.map((client) => client.end()))
      await sql`select pg_terminate_backend(pid) from pg_stat_activity where usename = any(${logins.map(loginName)})`
      await runScript(url, rolesSql({ schema, drop: true }))
      for (const login of logins) await sql.unsafe(`drop owned by ${loginName(login)}; drop role ${loginName(login)}`)
    },
  }
}
