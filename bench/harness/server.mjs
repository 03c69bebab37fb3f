// The PostgreSQL under all systems: an embedded server with a database for each run.
//
// Durability is as in production: fsync and synchronous_commit are on. Autovacuum is at its defaults.
import postgres from 'postgres'
import { startEmbedded } from '../../dist/esm/cli/embedded.js'
import { cpuMsOfFamily } from './processor.mjs'

/** What differs from a server as initdb makes it, and what matters though it does not. */
export const settings = {
  fsync: 'on',
  synchronous_commit: 'on',
  full_page_writes: 'on',
  shared_buffers: '2GB',
  max_wal_size: '8GB',
  checkpoint_timeout: '15min',
  max_connections: '300',
}

/** @typedef {Awaited<ReturnType<typeof startServer>>} Server */

/** @param {Readonly<Record<string, string>>} [extra] */
export async function startServer(extra = {}) {
  const server = await startEmbedded({ settings: { ...settings, ...extra } })
  const admin = postgres(server.url, { max: 1, onnotice: () => {} })
  const [row] = await admin`select current_setting('server_version') as version`
  let databases = 0
  return {
    url: server.url,
    version: String(row?.['version']),
    settings: { ...settings, ...extra },
    /** Processor time of the server and all its processes so far, in ms; NaN where there is no /proc. */
    cpuMs: () => cpuMsOfFamily(server.pid),
    /** An empty database; gives its URL. @param {string} name */
    async createDatabase(name) {
      const database = `${name.replace(/\W/g, '_')}_${++databases}`
      await admin.unsafe(`create database ${database}`)
      return server.url.replace(/\/postgres$/, `/${database}`)
    },
    /** @param {string} url */
    async dropDatabase(url) {
      await admin.unsafe(`drop database if exists ${new URL(url).pathname.slice(1)} with (force)`)
    },
    async stop() {
      await admin.end({ timeout: 1 })
      await server.stop()
    },
  }
}
