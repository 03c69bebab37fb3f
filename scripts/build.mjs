// Builds dist/esm (tsc: code and types) and dist/cjs (esbuild, file by file, with the same types).
// CommonJS has no import.meta, so the one value that the sources read from it is replaced by its CommonJS twin.
// The build happens beside dist and takes its place at the end, so that a running program finds the old one or the new one.
import { execFileSync } from 'node:child_process'
import { chmodSync, cpSync, existsSync, mkdirSync, readdirSync, renameSync, rmSync, writeFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { build } from 'esbuild'

const root = join(fileURLToPath(import.meta.url), '../..')
const dist = join(root, 'dist')
const next = join(root, `dist.${process.pid}.next`)
const old = join(root, `dist.${process.pid}.old`)
const esm = join(next, 'esm')
const cjs = join(next, 'cjs')

try {
  const tsc = join(dirname(createRequire(import.meta.url).resolve('typescript/package.json')), 'bin/tsc')
  execFileSync(process.execPath, [tsc, '-p', 'tsconfig.build.json', '--outDir', esm], { cwd: root, stdio: 'inherit' })
  chmodSync(join(esm, 'cli/main.js'), 0o755)

  const library = readdirSync(esm, { recursive: true })
    .map(String)
    .filter((file) => !/^cli(\W|$)/.test(file))
  mkdirSync(cjs, { recursive: true })
  writeFileSync(join(cjs, 'package.json'), '{ "type": "commonjs" }\n')
  for (const file of library.filter((name) => name.endsWith('.d.ts'))) cpSync(join(esm, file), join(cjs, file))
  await build({
    entryPoints: library.filter((name) => name.endsWith('.js')).map((name) => join(esm, name)),
    outdir: cjs,
    format: 'cjs',
    platform: 'node',
    target: 'node20',
    define: { 'import.meta.dirname': '__dirname' },
    logLevel: 'warning',
  })

  if (existsSync(dist)) renameSync(dist, old)
  renameSync(next, dist)
} finally {
  rmSync(next, { recursive: true, force: true })
  rmSync(old, { recursive: true, force: true })
}
