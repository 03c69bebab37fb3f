/**
 * Transactions of a process's own, as an application has them: on a `pg` client that is used for one at a time and
 * thrown away after an error.
 *
 * Not on postgres.js: a statement of a transaction whose connection was lost can run in another one there, and what would
 * be found is the driver.
 */
import type pg from 'pg'
import { statementMs } from './member.js'

export type Transactions = {
  /**
   * Runs the work in a transaction. `rolledBack` also where it failed before its commit was sent; `unknown` where nobody
   * told what became of the commit.
   */
  run(work: (client: pg.Client) => Promise<'commit' | 'rollback'>): Promise<'committed' | 'rolledBack' | 'unknown'>
  close(): Promise<void>
}

const mostIdle = 3

export async function openTransactions(url: string): Promise<Transactions> {
  const { Client } = (await import('pg')).default
  const idle: pg.Client[] = []
  const open = async (): Promise<pg.Client> => {
    const client = new Client({
      connectionString: withPlainTls(url),
      connectionTimeoutMillis: statementMs,
      query_timeout: statementMs,
    })
    client.on('error', () => drop(client)) // whoever uses it is told by its statement
    await client.connect()
    return client
  }
  const drop = (client: pg.Client): void => {
    const at = idle.indexOf(client)
    if (at >= 0)
      idle.splice(at, 1)
      // `end` says goodbye and waits for the answer, which a silent network never gives.
    ;(
      client as unknown as { readonly connection: { readonly stream: { destroy(): void } } }
    ).connection.stream.destroy()
  }
  return {
    async run(work) {
      let client: pg.Client | undefined
      let isCommitting = false
      try {
        client = idle.pop() ?? (await open())
        await client.query('begin')
        const end = await work(client)
        isCommitting = end === 'commit'
        await client.query(end)
        if (idle.length < mostIdle) idle.push(client)
        else drop(client)
        return isCommitting ? 'committed' : 'rolledBack'
      } catch {
        if (client) drop(client)
        return isCommitting ? 'unknown' : 'rolledBack'
      }
    },
    async close() {
      for (const client of [...idle]) drop(client)
    },
  }
}

/** `pg` reads `sslmode=require` as a check of certificates; this makes it what libpq and postgres.js make of it. */
export function withPlainTls(url: string): string {
  const parsed = new URL(url)
  if (parsed.searchParams.has('sslmode')) parsed.searchParams.set('uselibpqcompat', 'true')
  return parsed.href
}
