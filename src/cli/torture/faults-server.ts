/**
 * Faults of the server and of what stands before it. On a server that others use as well, only sessions of the run are
 * ended, and a snapshot is held for a few seconds: neither is felt by others, who lose a little of autovacuum.
 */
import { setTimeout as delay } from 'node:timers/promises'
import type { FaultKind } from './fault.js'
import { endSessions, holdSnapshot, nextTransaction } from './sql.js'
import { withPlainTls } from './transaction.js'

const againMs = 300

export const serverFaults: readonly FaultKind[] = [
  {
    name: 'terminate',
    says: 'the sessions of a process are ended by pg_terminate_backend, again and again',
    whom: 'any',
    lastsMs: [500, 2000],
    effect: 'sessions ended',
    begin: async ({ query }, { application }) => {
      let ended = await endSessions(query, application)
      let isOver = false
      const repeat = async (): Promise<void> => {
        while (!isOver) {
          await delay(againMs)
          ended += await endSessions(query, application).catch(() => 0) // the server itself may be down
        }
      }
      const repeating = repeat()
      return async () => {
        isOver = true
        await repeating
        return ended
      }
    },
  },
  {
    name: 'held snapshot',
    says: 'a transaction holds its snapshot, so that vacuum removes nothing',
    whom: 'server',
    lastsMs: [4000, 8000],
    effect: 'transactions since',
    begin: async ({ url, query }) => {
      const { Client } = (await import('pg')).default
      const client = new Client({
        connectionString: withPlainTls(url),
        application_name: 'dueq torture',
        connectionTimeoutMillis: 3000,
      })
      client.on('error', () => {}) // the server may be killed in between
      await client.connect()
      for (const statement of holdSnapshot) await client.query(statement)
      const first = await nextTransaction(query)
      return async () => {
        const last = await nextTransaction(query).catch(() => first)
        await Promise.race([client.end().catch(() => {}), delay(2000)])
        return last - first
      }
    },
  },
  {
    name: 'pooler',
    says: 'a process works through PgBouncer in transaction mode for a while; it is killed before and after',
    whom: 'any',
    lastsMs: [3000, 5000],
    isDeadly: true,
    effect: 'messages through it',
    missing: ({ unproxied, unpooled }) => unproxied ?? unpooled,
    begin: async (stage, slot) => {
      const pooler = await stage.pooler()
      await slot.kill()
      const before = slot.counts
      slot.road!.lead(pooler.url)
      await slot.start({ isPooled: true })
      return async () => {
        await slot.kill()
        const { claimed, enqueued } = slot.counts
        slot.road!.lead(stage.url)
        await slot.start({ isPooled: false })
        return claimed - before.claimed + enqueued - before.enqueued
      }
    },
  },
  {
    name: 'kill server',
    says: 'kill -9 of the server, started again on the same data',
    whom: 'server',
    lastsMs: [200, 800],
    effect: 'ms down',
    missing: ({ isEmbedded }) => (isEmbedded ? undefined : 'the server is not of this run'),
    begin: async ({ embedded }) => {
      const from = performance.now()
      await embedded!.kill()
      return async () => {
        await embedded!.restart()
        return Math.round(performance.now() - from)
      }
    },
  },
]
