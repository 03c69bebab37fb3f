/**
 * A schema of its own for every caller, on the one server of the run, with a clock that tests move.
 *
 * The engine reads the time from `<schema>.clock()` only. Here that function adds the shift stored in a row of the same
 * schema, so that all sessions and processes which use the schema travel together, and no test sleeps through a delay.
 */
import { randomBytes } from 'node:crypto'
import postgres from 'postgres'
import { inject } from 'vitest'
import { migrate } from '../../src/migrate.js'

export type TestSchema = {
  readonly schema: string
  readonly url: string
  /** A pool on the test server. Its search path is the server's, so tables are written `${sql(schema)}.messages`. */
  readonly sql: postgres.Sql
  /** Moves the schema's clock by an interval such as '10 minutes' (or '-1 hour'); shifts add up. */
  travel(interval: string): Promise<void>
  /** Stops the schema's clock at this instant, until `unfreeze`; `travel` still moves it. */
  freeze(): Promise<void>
  /** Lets the clock run on, from where it stands. */
  unfreeze(): Promise<void>
  /** Drops the schema and closes the pool. Safe to call again. */
  close(): Promise<void>
  [Symbol.asyncDispose](): Promise<void>
}

/** Creates a schema, migrated unless `migrate` is false; time travel needs a migrated one. */
export async function freshSchema(options: { readonly migrate?: boolean } = {}): Promise<TestSchema> {
  const url = inject('databaseUrl')
  const schema = `t_${randomBytes(6).toString('hex')}`
  const sql = postgres(url, { max: 5, connect_timeout: 10, onnotice: () => {} })
  const name = sql(schema)

  let isClockReplaced = false
  const replaceClock = async () => {
    if (isClockReplaced) return
    // The same signature as the engine's, so that `create or replace` keeps what depends on it. One simple query is one
    // transaction: no session finds the function without its table.
    await sql.unsafe(`
      create table ${schema}.test_clock (shift interval not null, frozen_at timestamptz);
      insert into ${schema}.test_clock (shift, frozen_at) values ('0', null);
      create or replace function ${schema}.clock() returns timestamptz
        language plpgsql volatile security definer set search_path = ${schema}, pg_temp
      as $$ begin return (select coalesce(frozen_at, clock_timestamp()) + shift from test_clock); end $$;
    `)
    isClockReplaced = true
  }

  let closing: Promise<void> | undefined
  const close = () => {
    closing ??= (async () => {
      await sql`drop schema if exists ${name} cascade`
      await sql.end({ timeout: 5 })
    })()
    return closing
  }

  try {
    if (options.migrate === false) await sql`create schema ${name}`
    else await migrate({ url, schema })
  } catch (error) {
    await close()
    throw error
  }
  return {
    schema,
    url,
    sql,
    async travel(interval) {
      await replaceClock()
      await sql`update ${name}.test_clock set shift = shift + ${interval}::text::interval`
    },
    async freeze() {
      await replaceClock()
      await sql`update ${name}.test_clock set frozen_at = coalesce(frozen_at, clock_timestamp())`
    },
    async unfreeze() {
      await replaceClock()
      await sql`
        update ${name}.test_clock
           set shift = shift - (clock_timestamp() - coalesce(frozen_at, clock_timestamp())), frozen_at = null`
    },
    close,
    [Symbol.asyncDispose]: close,
  }
}
