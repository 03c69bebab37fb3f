// The migrations of this package, as files:
//
//   migrations/0001_tables.sql …    numbered, each applied once and never edited after its release: tables and what is in them
//   migrations/engine/*.sql         the functions and views, applied as a whole whenever their text differs from what was applied
//
// The engine counts as one more migration, behind the others, with the hash of its text in its name: so the table of what is
// applied says which functions a schema has, and nothing else is needed to know whether they are those of this package.
import { createHash } from 'node:crypto'
import { existsSync } from 'node:fs'
import { readdir, readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { DueqError } from './errors.js'

/** One migration. `name` is what the table of applied migrations holds. */
export type Migration = { readonly name: string; readonly sql: string }

/** What this package has: the numbered migrations in order, then the engine and the version that it gives a schema. */
export type Migrations = {
  readonly numbered: readonly Migration[]
  readonly engine: Migration & { readonly version: number }
}

/** Where the files are: from src/ the package is one level up, from dist/esm/ and dist/cjs/ two. */
export function ownDirectory(): string {
  const places = ['../migrations', '../../migrations'].map((path) => join(import.meta.dirname ?? '.', path))
  return places.find((place) => existsSync(place)) ?? places[1]!
}

/** Reads the files. Raises `migration.files_missing`. */
export async function readMigrations(directory: string): Promise<Migrations> {
  const numbered = await readFolder(directory, /^\d{4}_.*\.sql$/)
  const parts = await readFolder(join(directory, 'engine'), /\.sql$/)
  return { numbered, engine: engineOf(parts.map(({ sql }) => sql).join('\n')) }
}

/** True for the name of an engine, of this package or of another. */
export function isEngine(name: string): boolean {
  return name.startsWith(enginePrefix)
}

/** True for what the first schemas, of version 101, list as applied and what is part of the engine since: functions and views. */
export function isPartOfEngine(name: string): boolean {
  return /^00(0[2-9]|10)_/.test(name)
}

// --- internal ---

/** Behind all numbers, for node-pg-migrate sorts by them. */
const enginePrefix = '9999_engine_'

/**
 * The SQL that makes all functions and views anew in a schema, whichever it has. `create or replace` is for those that could not
 * be dropped, and for views.
 */
function engineOf(text: string): Migration & { readonly version: number } {
  const functions = new Set([...text.matchAll(/^create function (\w+)/gm)].map((match) => match[1]!))
  const sql = [
    `select pg_catalog.set_config('dueq.functions', '{${[...functions].join()}}', true);`,
    text.replace(/^create (function|view) /gm, 'create or replace $1 '),
    `delete from migrations where name ~ '^(${enginePrefix}|00(0[2-9]|10)_)';`,
  ].join('\n')
  const hash = createHash('sha256').update(text.replaceAll('\r', '')).digest('hex').slice(0, 8)
  const version = Number(/^create function schema_version\(\)[^$]*\$\$ select (\d+) \$\$/m.exec(text)?.[1] ?? 0)
  return { name: `${enginePrefix}${hash}`, sql, version }
}

async function readFolder(directory: string, pattern: RegExp): Promise<readonly Migration[]> {
  const files = (await readdir(directory).catch(() => [])).filter((file) => pattern.test(file)).sort()
  if (files.length > 0)
    return Promise.all(
      files.map(async (file) => ({ name: file.slice(0, -4), sql: await readFile(join(directory, file), 'utf8') })),
    )
  throw new DueqError(
    'migration.files_missing',
    `No migrations in ${directory}. Run \`npx dueq migrate\`, or pass \`directory\` where a bundler has moved dueq away from its package.`,
  )
}
