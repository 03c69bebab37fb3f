/**
 * A real PostgreSQL server as a child process, for demonstrations and tests: nothing to install, nothing left behind.
 *
 *     initdb → starting → running → stopped (directory removed)
 *                 ↑          ↓ kill()
 *                 └─────── dead           restart() leads back, on the same data and port
 *
 * Invariant: the server listens on 127.0.0.1 only, behind a random password, and lives no longer than its owner wants:
 * `stop` is the owner's duty (no signal handler is installed here), and a server whose owner was killed is removed at
 * the next start.
 */
import { randomBytes } from 'node:crypto'
import { chownSync, mkdirSync, readdirSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import postgres from 'postgres'
import { findBinaries, prepareBinaries } from './embedded-binaries.js'
import { end, freePort, isFree, isRunning, letOwnerExit, type Run, runAs } from './embedded-process.js'
import { createScratch, removeScratch, sweepOrphans } from './embedded-scratch.js'
import { EmbeddedUnavailableError, serverUser, temporaryBase } from './embedded-user.js'

export { EmbeddedUnavailableError }

export type EmbeddedOptions = {
  /** Server settings, as in postgresql.conf. The address, the port and the sockets are not negotiable. */
  readonly settings?: Readonly<Record<string, string>>
  /** PostgreSQL's major version, 14 to 18. @default the installed one */
  readonly major?: number
  /** Takes the lines of the server's log. */
  readonly onLog?: (line: string) => void
  /** The port to listen on, which must be free. @default a free one */
  readonly port?: number
  /** Where the data come from, in place of an empty database. */
  readonly origin?: DataOrigin
}

/** Data of another server. */
export type DataOrigin = {
  /** The password of its superuser. */
  readonly password: string
  /** Fills the directory, which exists. What is in there is made the server's own afterwards. */
  fill(dataDirectory: string): Promise<void>
}

export type EmbeddedServer = {
  /** The superuser's URL of the database `postgres`, password included. */
  readonly url: string
  readonly port: number
  /** What it was started with. */
  readonly options: EmbeddedOptions
  readonly dataDirectory: string
  /** The postmaster's process id: another one after `restart`. */
  readonly pid: number
  /** Ends sessions and server (fast shutdown, SIGKILL after 10 s) and removes the data. Safe to call again. */
  stop(): Promise<void>
  /** Kills the postmaster as a crash would. The data stays. */
  kill(): Promise<void>
  /** Starts the server again on the same data and port, after stopping it if it runs. */
  restart(): Promise<void>
  [Symbol.asyncDispose](): Promise<void>
}

const startDeadlineMs = 20_000
const portAttempts = 10
const logLinesKept = 30

/**
 * Starts a server with an empty database, in about a second.
 *
 * @throws EmbeddedUnavailableError when there are no binaries for this platform, or no user to run them as.
 */
export async function startEmbedded(options: EmbeddedOptions = {}): Promise<EmbeddedServer> {
  const binaries = findBinaries(options.major)
  const user = serverUser()
  const base = temporaryBase(user)
  await sweepOrphans(base)
  const scratch = await createScratch(base)
  const dataDirectory = join(scratch, 'data')
  const { origin } = options
  const password = origin?.password ?? randomBytes(18).toString('base64url')
  const log: string[] = []

  const run = (name: string, args: readonly string[]): Run =>
    runAs(user, join(bin, name), args, scratch, (line) => {
      if (log.push(line) > logLinesKept) log.shift()
      options.onLog?.(line)
    })
  const failed = async (run: Run, what: string) => {
    await run.drained
    return new Error(`${what}. Its last lines:\n${log.map((line) => `  ${line}`).join('\n')}`)
  }

  const own = (paths: readonly string[]) => {
    if (user) for (const path of paths) chownSync(path, user.uid, user.gid)
  }
  const initialize = async () => {
    mkdirSync(dataDirectory, { mode: 0o700 })
    if (origin) {
      await origin.fill(dataDirectory)
      const names = readdirSync(dataDirectory, { recursive: true }).map(String)
      return own([dataDirectory, ...names.map((name) => join(dataDirectory, name))])
    }
    const passwordFile = join(scratch, 'password')
    writeFileSync(passwordFile, password, { mode: 0o600 })
    own([passwordFile, dataDirectory])
    const args = ['-D', dataDirectory, '-U', 'postgres', '-E', 'UTF8', '--locale=C', '--no-sync']
    const initdb = run('initdb', [...args, '-A', 'scram-sha-256', `--pwfile=${passwordFile}`])
    await initdb.ended
    rmSync(passwordFile)
    if (initdb.child.exitCode !== 0) throw await failed(initdb, 'PostgreSQL could not create a database')
  }

  const urlOf = (port: number) => `postgres://postgres:${password}@127.0.0.1:${port}/postgres`
  const launch = async (port: number): Promise<Run> => {
    const fixed = { port: String(port), listen_addresses: '127.0.0.1', unix_socket_directories: '' }
    const settings = Object.entries({ ...options.settings, ...fixed }).flatMap(([key, value]) => [
      '-c',
      `${key}=${value}`,
    ])
    const postmaster = run('postgres', ['-D', dataDirectory, ...settings])
    const deadline = Date.now() + startDeadlineMs
    while (!(await answers(urlOf(port)))) {
      if (Date.now() > deadline) await end(postmaster, 'SIGKILL')
      if (!isRunning(postmaster)) throw await failed(postmaster, 'PostgreSQL did not start')
      await delay(25)
    }
    letOwnerExit(postmaster)
    return postmaster
  }

  let bin = ''
  let port = 0
  let postmaster: Run | undefined
  try {
    bin = await prepareBinaries(binaries, user, base, scratch)
    await initialize()
    for (let attempt = 1; !postmaster; attempt++) {
      port = options.port ?? (await freePort())
      try {
        postmaster = await launch(port)
      } catch (error) {
        // Somebody else may have taken the port between the look and the start.
        if (attempt >= portAttempts || options.port || (await isFree(port))) throw error
      }
    }
  } catch (error) {
    await removeScratch(scratch)
    throw error
  }

  let running: Run = postmaster
  let stopping: Promise<void> | undefined
  const stop = () => {
    stopping ??= end(running, 'SIGINT').then(() => removeScratch(scratch))
    return stopping
  }
  return {
    url: urlOf(port),
    port,
    options,
    dataDirectory,
    get pid() {
      return running.child.pid!
    },
    stop,
    kill: () => end(running, 'SIGKILL'),
    async restart() {
      if (stopping) throw new Error('The embedded server was stopped and its data removed: start another one.')
      await end(running, 'SIGINT')
      const deadline = Date.now() + startDeadlineMs
      for (;;) {
        try {
          running = await launch(port)
          return
        } catch (error) {
          // The backends of a killed postmaster hold its shared memory until they notice.
          if (Date.now() > deadline) throw error
          await delay(100)
        }
      }
    },
    [Symbol.asyncDispose]: stop,
  }
}

/** Whether a server, or a pooler, at this URL answers a statement. */
export async function answers(url: string): Promise<boolean> {
  const sql = postgres(url, { max: 1, prepare: false, fetch_types: false, connect_timeout: 2, onnotice: () => {} })
  try {
    await sql`select 1`
    return true
  } catch {
    return false
  } finally {
    await sql.end({ timeout: 0 })
  }
}
