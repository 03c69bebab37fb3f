/**
 * A real PgBouncer in transaction mode before a server: the place where prepared statements, LISTEN and session state go
 * wrong. It runs as the user that PostgreSQL would run as, because it refuses root too, and ends with this process.
 */
import { execFileSync } from 'node:child_process'
import { accessSync, chownSync, constants, writeFileSync } from 'node:fs'
import { delimiter, join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import { answers } from './embedded.js'
import { end, freePort, isRunning, letOwnerExit, runAs } from './embedded-process.js'
import { createScratch, removeScratch } from './embedded-scratch.js'
import { serverUser, temporaryBase } from './embedded-user.js'

export type PgBouncer = {
  /** The URL of the server, through the pooler. */
  readonly url: string
  readonly version: string
  stop(): Promise<void>
  [Symbol.asyncDispose](): Promise<void>
}

const startDeadlineMs = 10_000

/** Says what to install where there is none. */
export const missingPgBouncer =
  'PgBouncer was found neither on PATH nor in /usr/sbin: install the package `pgbouncer` (Debian, Homebrew, …).'

/** The path of the executable, or undefined where there is none. */
export function findPgBouncer(): string | undefined {
  // Debian installs it where the PATH of users does not lead.
  const folders = [...(process.env['PATH'] ?? '').split(delimiter).filter(Boolean), '/usr/sbin']
  return folders.map((folder) => join(folder, 'pgbouncer')).find(isExecutable)
}

/** Starts PgBouncer before the server of that URL, whose user and database are the only ones that it knows. */
export async function startPgBouncer(serverUrl: string): Promise<PgBouncer> {
  const file = findPgBouncer()
  if (!file) throw new Error(missingPgBouncer)
  const version = /\d+\.\d+(\.\d+)?/.exec(execFileSync(file, ['--version'], { encoding: 'utf8' }))![0]
  const user = serverUser()
  const scratch = await createScratch(temporaryBase(user))
  const port = await freePort()
  const server = new URL(serverUrl)
  const database = decodeURIComponent(server.pathname.slice(1))
  const text = (part: string): string => decodeURIComponent(part).replaceAll('"', '""')
  const write = (name: string, lines: readonly string[]): string => {
    const path = join(scratch, name)
    writeFileSync(path, `${lines.join('\n')}\n`, { mode: 0o600 })
    if (user) chownSync(path, user.uid, user.gid)
    return path
  }
  const users = write('users.txt', [`"${text(server.username)}" "${text(server.password)}"`])
  const config = write('pgbouncer.ini', [
    '[databases]',
    `${database} = host=${server.hostname} port=${server.port || 5432}`,
    '[pgbouncer]',
    'listen_addr = 127.0.0.1',
    `listen_port = ${port}`,
    'unix_socket_dir =',
    'auth_type = scram-sha-256',
    `auth_file = ${users}`,
    'pool_mode = transaction',
    'max_client_conn = 500',
    // From 1.21 on it can keep prepared statements. Off, as in the versions and poolers that cannot.
    ...(isAtLeast(version, 21) ? ['max_prepared_statements = 0'] : []),
  ])
  const log: string[] = []
  const run = runAs(user, file, [config], scratch, (line) => void log.push(line))
  const kill = (): void => void run.child.kill('SIGKILL')
  process.once('exit', kill)
  const stop = async (): Promise<void> => {
    process.off('exit', kill)
    await end(run, 'SIGINT')
    await removeScratch(scratch)
  }
  const url = Object.assign(new URL(serverUrl), { hostname: '127.0.0.1', port: String(port) }).href
  const deadline = Date.now() + startDeadlineMs
  while (!(await answers(url))) {
    if (isRunning(run) && Date.now() < deadline) await delay(25)
    else {
      await stop()
      throw new Error(`PgBouncer did not start. Its last lines:\n${log.slice(-20).join('\n')}`)
    }
  }
  letOwnerExit(run)
  return { url, version, stop, [Symbol.asyncDispose]: stop }
}

// --- internal ---

function isExecutable(path: string): boolean {
  try {
    accessSync(path, constants.X_OK)
    return true
  } catch {
    return false
  }
}

function isAtLeast(version: string, minor: number): boolean {
  const [major = 0, itsMinor = 0] = version.split('.').map(Number)
  return major > 1 || itsMinor >= minor
}
