/** The ways to hold a transaction that dueq promises to work in, each with commit at the end and rollback on a throw. */
import pg from 'pg'
import type postgres from 'postgres'
import type { Connection } from '../../src/index.js'

export type Transaction = {
  readonly name: string
  /** Runs the work in one transaction. `write` is what a handler would write by itself, in the same transaction. */
  run<T>(work: (tx: Connection, write: (text: string) => Promise<unknown>) => Promise<T>): Promise<T>
}

export function transactions(sql: postgres.Sql, url: string): readonly Transaction[] {
  const withPg = async <T>(work: (client: pg.Client) => Promise<T>): Promise<T> => {
    const client = new pg.Client({ connectionString: url })
    await client.connect()
    try {
      await client.query('begin')
      const result = await work(client)
      await client.query('commit')
      return result
    } catch (error) {
      await client.query('rollback')
      throw error
    } finally {
      await client.end()
    }
  }
  return [
    {
      name: 'postgres.js begin',
      run: <T>(work: Parameters<Transaction['run']>[0]) =>
        sql.begin((tx) => work(tx, (text) => tx.unsafe(text))) as Promise<T>,
    },
    {
      name: 'postgres.js savepoint',
      run: <T>(work: Parameters<Transaction['run']>[0]) =>
        sql.begin((outer) => outer.savepoint((tx) => work(tx, (text) => tx.unsafe(text)))) as Promise<T>,
    },
    { name: 'pg client', run: (work) => withPg((client) => work(client, (text) => client.query(text))) },
    {
      name: 'function with object rows',
      run: (work) =>
        withPg((client) =>
          work(
            async (text: string, params: (string | null)[]) => (await client.query(text, params)).rows,
            (text) => client.query(text),
          ),
        ),
    },
    {
      name: 'function with array rows',
      run: (work) =>
        withPg((client) =>
          work(
            async (text: string, values: (string | null)[]) =>
              (await client.query({ text, values, rowMode: 'array' })).rows,
            (text) => client.query(text),
          ),
        ),
    },
  ]
}
