/**
 * The SQL of `dueq bench`: what is asked of the server before it is measured, and the bare statements that dueq is
 * compared with.
 *
 * The library speaks no SQL but calls of its functions. A comparison cannot be such a call, so it is here, in one file,
 * on tables of its own in a schema that only the run uses.
 */
import postgres from 'postgres'
import { fromDatabase } from '../database-errors.js'
import type { Query } from '../driver.js'
import { arrayLiteral } from '../text-form.js'

/** What decides about speed, as far as the server tells. */
export type ServerFacts = {
  readonly version: string
  readonly settings: Readonly<Record<string, string>>
  /** Whether something in between hands out sessions of its own. */
  readonly isPooled: boolean
  /** The time of the server, in whole seconds since 1970. */
  readonly epochSeconds: number
}

/** A schema that a run made, and what its comment says. */
export type RunSchema = { readonly name: string; readonly comment: string | null }

const tellingSettings = [
  'fsync',
  'synchronous_commit',
  'wal_level',
  'shared_buffers',
  'max_connections',
  'synchronous_standby_names',
] as const

/** Asks the server, over a connection of its own. Errors: `database.*`. */
export async function lookAtServer(url: string): Promise<ServerFacts> {
  const sql = postgres(url, {
    max: 1,
    prepare: false,
    fetch_types: false,
    connect_timeout: 10,
    onnotice: () => {},
    connection: { application_name: 'dueq bench' },
  })
  try {
    const [facts, ...values] = await sql.begin(async (tx) => {
      const first = await tx`
        select current_setting('server_version') as version, pg_backend_pid()::text as pid,
               extract(epoch from clock_timestamp())::bigint::text as seconds`
      const rest = await tx`
        select s.name, coalesce(current_setting(s.name, true), '') as value
          from unnest(string_to_array(${tellingSettings.join()}, ',')) with ordinality as s (name, place)
         order by s.place`
      return [{ ...first[0], announcedPid: first.state.pid }, ...rest] as unknown as [
        { version: string; pid: string; seconds: string; announcedPid: number },
        ...{ name: string; value: string }[],
      ]
    })
    return {
      version: facts.version.split(' ')[0]!,
      settings: Object.fromEntries(values.map(({ name, value }) => [name, value])),
      // A pooler announces a number of its own at connect; the server behind it knows better.
      isPooled: Number(facts.pid) !== facts.announcedPid,
      epochSeconds: Number(facts.seconds),
    }
  } catch (error) {
    throw fromDatabase(error)
  } finally {
    await sql.end({ timeout: 5 })
  }
}

/** The schemas whose names begin so. */
export async function runSchemas(query: Query, prefix: string): Promise<readonly RunSchema[]> {
  const rows = await query(
    `select nspname::text, obj_description(oid, 'pg_namespace') from pg_namespace where starts_with(nspname::text, $1::text) order by 1`,
    [prefix],
  )
  return rows.map(([name, comment]) => ({ name: name!, comment: comment ?? null }))
}

/** Makes a schema of the run's own. The comment says whose it is, for the one who finds it. */
export async function createRunSchema(query: Query, name: string, comment: string): Promise<void> {
  await query(`create schema "${name}"`, [])
  await query(`comment on schema "${name}" is '${comment.replaceAll("'", "''")}'`, [])
}

/** Removes a schema with all that is in it. */
export async function dropRunSchema(query: Query, name: string): Promise<void> {
  await query(`drop schema if exists "${name}" cascade`, [])
}

/** Says something to the server and has the answer. */
export async function roundTrip(query: Query): Promise<void> {
  await query('select 1::text', [])
}

export type BareStatements = ReturnType<typeof bareStatements>

/** What one would write without dueq: an id, a due time with its index, a payload. */
export function bareStatements(schema: string) {
  const messages = `"${schema}".bare_messages`
  const commits = `"${schema}".bare_commits`
  return {
    async create(query: Query): Promise<void> {
      await query(
        `create table ${messages} (id bigint generated always as identity primary key, ready_at timestamptz not null default clock_timestamp(), payload jsonb not null)`,
        [],
      )
      await query(`create index on ${messages} (ready_at, id)`, [])
      await query(`create table ${commits} ()`, [])
    },

    /** The least that has to be on disk before the answer comes. */
    async commit(query: Query): Promise<void> {
      await query(`insert into ${commits} default values`, [])
    },

    async insert(query: Query, payload: string): Promise<void> {
      await query(`insert into ${messages} (payload) values ($1::text::jsonb)`, [payload])
    },

    async insertMany(query: Query, payloads: readonly string[]): Promise<void> {
      await query(`insert into ${messages} (payload) select unnest($1::text::jsonb[])`, [
        await arrayLiteral(payloads, (payload) => payload),
      ])
    },

    /** Empties the tables. */
    async empty(query: Query): Promise<void> {
      await query(`truncate ${messages}, ${commits}`, [])
    },
  }
}
