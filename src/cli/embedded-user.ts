/**
 * Which user an embedded server runs as, and what that user can reach.
 *
 * PostgreSQL refuses to run as root. Under root the server therefore runs as an existing unprivileged user, and
 * everything it reads must be open to that user along the whole path.
 */
import { existsSync, readFileSync, statSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, resolve } from 'node:path'
import { DueqError } from '../errors.js'

/** The user a server process runs as, when it is not the current one. */
export type ServerUser = { readonly uid: number; readonly gid: number }

/** Raised when no embedded server can be run here; its message says what to install or to give instead. */
export class EmbeddedUnavailableError extends DueqError {
  constructor(message: string, options: { readonly cause?: unknown } = {}) {
    super('embedded.unavailable', message, options)
  }
}

/** The current user's number; -1 where the platform has none. */
export function currentUid(): number {
  return process.getuid?.() ?? -1
}

/** The user to run a server as: `undefined` (the current one) unless that is root, which PostgreSQL refuses. */
export function serverUser(): ServerUser | undefined {
  if (currentUid() !== 0) return undefined
  const accounts = readFileSync('/etc/passwd', 'utf8').split('\n')
  for (const name of ['postgres', 'nobody']) {
    const fields = accounts.find((line) => line.startsWith(`${name}:`))?.split(':')
    const user = { uid: Number(fields?.[2]), gid: Number(fields?.[3]) }
    if (user.uid > 0 && user.gid > 0) return user
  }
  throw new EmbeddedUnavailableError(
    'PostgreSQL refuses to run as root and there is no user `postgres` or `nobody`: run as another user, or give the URL of a running PostgreSQL.',
  )
}

/** A temporary directory in which that user can reach files. */
export function temporaryBase(user: ServerUser | undefined): string {
  const base = [tmpdir(), '/tmp', '/var/tmp'].find((path) => existsSync(path) && canRead(path, user))
  if (base) return resolve(base)
  throw new EmbeddedUnavailableError(
    `The user ${user?.uid} can reach no temporary directory: set TMPDIR to one that it can.`,
  )
}

/** Whether that user can read the file, or pass through the directory. */
export function canRead(path: string, user: ServerUser | undefined): boolean {
  if (!user) return true
  for (let current = resolve(path); ; current = dirname(current)) {
    const { mode, uid, gid } = statSync(current)
    const granted = uid === user.uid ? mode >> 6 : gid === user.gid ? mode >> 3 : mode
    // Directories on the way need only be passed through.
    if (!(granted & (current === resolve(path) && !statSync(current).isDirectory() ? 4 : 1))) return false
    if (current === dirname(current)) return true
  }
}
