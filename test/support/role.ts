/** A role that may use the schema of a test and nothing else, for what depends on whom dueq connects as. */
import { randomBytes } from 'node:crypto'
import type { TestSchema } from './database.js'

export type Role = {
  /** The URL of the server, as this role. */
  readonly url: string
  /** Runs `alter role`: `set …`, `nologin`, … */
  alter(change: string): Promise<void>
  /** Ends its sessions: the next ones have the settings of now. */
  disconnect(): Promise<void>
  /** Ends its sessions and drops it. */
  [Symbol.asyncDispose](): Promise<void>
}

/** Creates a role. `options` are those of `create role`, `connection limit 2` for one. */
export async function startRole({ schema, sql, url }: TestSchema, options = ''): Promise<Role> {
  const role = `${schema}_${randomBytes(4).toString('hex')}`
  await sql.unsafe(`
    create role ${role} login password 'secret' ${options};
    grant usage on schema ${schema} to ${role};
    grant execute on all functions in schema ${schema} to ${role};
    grant select, insert, update, delete on all tables in schema ${schema} to ${role};
    grant usage on all sequences in schema ${schema} to ${role};`)
  const disconnect = async (): Promise<void> => {
    await sql`select pg_terminate_backend(pid) from pg_stat_activity where usename = ${role}`
  }
  return {
    url: Object.assign(new URL(url), { username: role, password: 'secret' }).href,
    alter: async (change) => void (await sql.unsafe(`alter role ${role} ${change}`)),
    disconnect,
    async [Symbol.asyncDispose]() {
      await disconnect()
      await sql.unsafe(`drop owned by ${role}; drop role ${role}`)
    },
  }
}
