// npm run release:keep: keeps what later upgrade tests need of this release in releases/<version>/ (see releases/README.md).
// Refuses to change a release that is kept already.
import { existsSync, mkdirSync, readFileSync, statSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { build } from 'esbuild'
import { migrationSql } from '../dist/esm/migrate.js'

/** Stands for the name of the schema in the kept SQL; a name that dueq accepts, and that no text of the engine contains. */
const placeholder = '__schema__'

const root = join(fileURLToPath(import.meta.url), '../..')
const { version, dependencies } = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8'))

/** Writes the schema and the client that were built into a new directory; gives their paths. */
export async function keepRelease(directory) {
  mkdirSync(directory)
  const schema = join(directory, 'schema.sql')
  writeFileSync(schema, await migrationSql({ schema: placeholder }))
  const client = join(directory, 'client.mjs')
  await build({
    entryPoints: [join(root, 'dist/esm/index.js')],
    outfile: client,
    bundle: true,
    minify: true,
    format: 'esm',
    platform: 'node',
    target: 'node20',
    external: Object.keys(dependencies),
    legalComments: 'none',
  })
  return [schema, client]
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const directory = join(root, 'releases', version)
  if (existsSync(directory)) {
    console.error(`releases/${version} exists. What was released stays as it was: raise the version in package.json.`)
    process.exit(1)
  }
  for (const path of await keepRelease(directory)) console.log(`${path} ${Math.ceil(statSync(path).size / 1000)} kB`)
}
