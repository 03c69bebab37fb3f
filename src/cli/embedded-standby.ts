/**
 * A standby of an embedded server, and its promotion: what a fail-over is made of.
 *
 *     copied while the primary writes -> streaming -> promoted (a primary of the next timeline)
 *
 * The npm binaries have no pg_basebackup. So one session holds a backup open while the files are copied, as the low-level
 * API of PostgreSQL's manual says; the WAL written meanwhile is streamed from the primary, which keeps enough of it.
 *
 * Invariant: nobody but the owner's own process uses these servers, so the superuser also replicates.
 */
import {
  appendFileSync,
  closeSync,
  mkdirSync,
  openSync,
  readdirSync,
  readSync,
  writeFileSync,
  writeSync,
} from 'node:fs'
import { join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import postgres from 'postgres'
import { type EmbeddedServer, startEmbedded } from './embedded.js'

/** Settings of a server that is to have standbys; a standby has those of its primary. */
export const replicationSettings = {
  wal_level: 'replica',
  wal_keep_size: '512MB',
  hot_standby: 'on',
  wal_sender_timeout: '5s',
  wal_receiver_timeout: '5s',
  // A standby that is to be promoted at once must not look for its primary for long.
  wal_retrieve_retry_interval: '100ms',
}

export type EmbeddedStandby = EmbeddedServer & {
  /** Makes it a primary, without standbys that commits wait for. Its former primary must be dead. */
  promote(): Promise<void>
}

const streamWithinMs = 20_000

/** Starts a standby of a server that was started with `replicationSettings`, and makes commits there wait for it. */
export async function startStandby(
  primary: EmbeddedServer,
  { name = 'standby', port }: { readonly name?: string; readonly port?: number } = {},
): Promise<EmbeddedStandby> {
  const password = decodeURIComponent(new URL(primary.url).password)
  const { settings, major, onLog } = primary.options
  const server = await startEmbedded({
    ...(settings && { settings }),
    ...(major && { major }),
    ...(onLog && { onLog }),
    ...(port && { port }),
    origin: {
      password,
      async fill(directory) {
        await copyInBackup(primary, directory)
        const conninfo = `host=127.0.0.1 port=${primary.port} user=postgres password=${password} application_name=${name}`
        appendFileSync(join(directory, 'postgresql.auto.conf'), `primary_conninfo = '${conninfo}'\n`)
        writeFileSync(join(directory, 'standby.signal'), '')
      },
    },
  })
  try {
    await replicateTo(primary, name)
  } catch (error) {
    await server.stop()
    throw error
  }
  return Object.assign(server, {
    promote: () =>
      asking(server, async (sql) => {
        await sql`select pg_promote(true, 60)`
        await synchronousStandbys(sql, '')
      }),
  })
}

// --- internal ---

async function asking<T>({ url }: EmbeddedServer, ask: (sql: postgres.Sql) => Promise<T>): Promise<T> {
  const sql = postgres(url, { max: 1, prepare: false, onnotice: () => {} })
  try {
    return await ask(sql)
  } finally {
    await sql.end({ timeout: 1 })
  }
}

async function synchronousStandbys(sql: postgres.Sql, names: string): Promise<void> {
  await sql.unsafe(`alter system set synchronous_standby_names = '${names}'`)
  await sql`select pg_reload_conf()`
}

/** From now on commits wait for the standby: from when it has caught up, so that none waits for long. */
function replicateTo(primary: EmbeddedServer, name: string): Promise<void> {
  return asking(primary, async (sql) => {
    const until = async (isReached: (row: postgres.Row) => boolean): Promise<void> => {
      for (const deadline = Date.now() + streamWithinMs; ; await delay(20)) {
        const [row] = await sql`select state, sync_state from pg_stat_replication where application_name = ${name}`
        if (row && isReached(row)) return
        if (Date.now() > deadline)
          throw new Error(`The standby ${name} did not stream within ${streamWithinMs / 1000} s.`)
      }
    }
    await until((row) => row['state'] === 'streaming')
    await synchronousStandbys(sql, `"${name}"`)
    try {
      await until((row) => row['sync_state'] === 'sync')
    } catch (error) {
      await synchronousStandbys(sql, '')
      throw error
    }
  })
}

/** Copies the data of a running server. The session that starts the backup has to be the one that stops it. */
function copyInBackup(primary: EmbeddedServer, directory: string): Promise<void> {
  return asking(primary, async (sql) => {
    const [version] = await sql`select current_setting('server_version_num')::int / 10000 as major`
    const isOld = version!['major'] < 15
    await sql.unsafe(
      isOld ? `select pg_start_backup('standby', true, false)` : `select pg_backup_start('standby', true)`,
    )
    copyData(primary.dataDirectory, directory)
    const [stop] = await sql.unsafe(
      isOld ? 'select labelfile from pg_stop_backup(false, false)' : 'select labelfile from pg_backup_stop(false)',
    )
    writeFileSync(join(directory, 'backup_label'), stop!['labelfile'])
  })
}

/** What belongs to the running server and not to its data. */
const leftOut = /^(postmaster\.(pid|opts)|backup_label.*|standby\.signal)$/
const leftEmpty = new Set([
  'pg_wal',
  'pg_replslot',
  'pg_stat_tmp',
  'pg_dynshmem',
  'pg_notify',
  'pg_serial',
  'pg_snapshots',
])

/** Copies a directory whose files change, grow and vanish meanwhile; what is half written, WAL will repair. */
function copyData(from: string, to: string): void {
  for (const entry of readdirSync(from, { withFileTypes: true })) {
    const [source, target] = [join(from, entry.name), join(to, entry.name)]
    if (leftOut.test(entry.name)) continue
    if (!entry.isDirectory()) copyFile(source, target)
    else {
      mkdirSync(target, { mode: 0o700 })
      if (!leftEmpty.has(entry.name)) copyData(source, target)
    }
  }
}

function copyFile(source: string, target: string): void {
  let from: number
  try {
    from = openSync(source, 'r')
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return
    throw error
  }
  const to = openSync(target, 'w', 0o600)
  const buffer = Buffer.allocUnsafe(1 << 20)
  for (let length = readSync(from, buffer); length > 0; length = readSync(from, buffer))
    writeSync(to, buffer, 0, length)
  closeSync(from)
  closeSync(to)
}
