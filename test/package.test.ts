// The package as users get it: packed, unpacked into an empty project, imported, required, bundled and type-checked.
import { execFileSync, spawnSync } from 'node:child_process'
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { build } from 'esbuild'
import { publint } from 'publint'
import { afterAll, beforeAll, expect, test } from 'vitest'

const root = join(import.meta.dirname, '..')
const modules = join(root, 'node_modules')
const require = createRequire(import.meta.url)
const manifest = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8'))
const project = mkdtempSync(join(tmpdir(), 'dueq-package-'))
const installed = join(project, 'node_modules/dueq')
const readme = /^```ts\n([\s\S]*?)^```/m.exec(readFileSync(join(root, 'README.md'), 'utf8'))![1]!
let tarball = ''

/** What a program prints; where it fails, too, so that the difference says why. */
const run = (file: string, ...args: string[]): string => {
  const env = { ...process.env, DATABASE_URL: '', DUEQ_DATABASE_URL: '' }
  const { status, stdout, stderr } = spawnSync(file, args, { cwd: project, encoding: 'utf8', env })
  return status === 0 ? stdout : `exit code ${status}\n${stdout}${stderr}`
}

beforeAll(() => {
  execFileSync('npm', ['pack', '--ignore-scripts', '--silent', '--pack-destination', project], { cwd: root })
  tarball = join(project, readdirSync(project).find((name) => name.endsWith('.tgz'))!)
  mkdirSync(installed, { recursive: true })
  execFileSync('tar', ['-xzf', tarball, '-C', installed, '--strip-components=1'])
  for (const name of [...Object.keys(manifest.dependencies), '@types/node', 'undici-types']) {
    mkdirSync(dirname(join(project, 'node_modules', name)), { recursive: true })
    symlinkSync(join(modules, name), join(project, 'node_modules', name))
  }
  writeFileSync(join(project, 'package.json'), '{ "type": "module", "private": true }')
})
afterAll(() => rmSync(project, { recursive: true, force: true }))

test('it holds the library, the migrations, the CLI and the docs, and nothing else', () => {
  const top = readdirSync(installed).sort()
  expect(top).toEqual(['CHANGELOG.md', 'LICENSE', 'README.md', 'dist', 'docs', 'migrations', 'package.json'])
  const migrations = (directory: string): readonly string[] =>
    readdirSync(directory, { recursive: true, encoding: 'utf8' }).sort()
  expect(migrations(join(installed, 'migrations'))).toEqual(migrations(join(root, 'migrations')))
})

test('import and require give the same names, and read no file and load no migration tool', () => {
  writeFileSync(join(project, 'esm.js'), `import * as dueq from 'dueq'; console.log(Object.keys(dueq).sort().join())`)
  writeFileSync(
    join(project, 'cjs.cjs'),
    `const dueq = require('dueq'); console.log(Object.keys(dueq).sort().join());
     const loaded = Object.keys(require.cache).join(); if (/node_modules.(pg|node-pg-migrate)\\W/.test(loaded)) throw new Error(loaded)`,
  )
  const names = run(process.execPath, 'esm.js')
  expect(names).toContain('connect,defineQueue,isDueqError,migrate')
  expect(run(process.execPath, 'cjs.cjs')).toBe(names)
})

test.each(['esm', 'cjs'] as const)('an esbuild bundle in %s form runs', async (format) => {
  writeFileSync(
    join(project, 'entry.js'),
    `import { defineQueue } from 'dueq'; console.log(defineQueue('bundled').name)`,
  )
  const outfile = join(project, `bundle.${format === 'esm' ? 'mjs' : 'cjs'}`)
  const banner: Record<string, string> =
    format === 'esm'
      ? { js: `import { createRequire } from 'node:module'; const require = createRequire(import.meta.url)` }
      : {}
  await build({
    entryPoints: [join(project, 'entry.js')],
    bundle: true,
    platform: 'node',
    format,
    outfile,
    banner,
    logLevel: 'silent',
    external: ['pg-native'],
  })
  expect(run(process.execPath, outfile)).toBe('bundled\n')
})

test('the first example of the README passes a strict type check, as a module and as CommonJS', () => {
  writeFileSync(join(project, 'readme.mts'), readme)
  writeFileSync(
    join(project, 'readme.cts'),
    `import dueq = require('dueq')\nexport const queue: dueq.Queue<{ a: number }> = dueq.defineQueue<{ a: number }>('q')\n`,
  )
  const tsc = join(dirname(require.resolve('typescript/package.json')), 'bin/tsc')
  const options = [
    '--noEmit',
    '--strict',
    '--exactOptionalPropertyTypes',
    '--module',
    'nodenext',
    '--target',
    'es2022',
    '--types',
    'node',
  ]
  expect(run(process.execPath, tsc, ...options, 'readme.mts', 'readme.cts')).toBe('')
})

test('the CLI starts and says its version', () => {
  expect(run(process.execPath, join(installed, manifest.bin.dueq), '--version').trim()).toBe(manifest.version)
})

test('publint finds nothing', async () => {
  const { messages } = await publint({ pkgDir: installed, strict: true })
  expect(messages).toEqual([])
})

test('the types resolve for every way of importing (are the types wrong?)', () => {
  const attw = join(dirname(require.resolve('@arethetypeswrong/cli/package.json')), 'dist/index.js')
  expect(run(process.execPath, attw, tarball, '--format', 'ascii')).toContain('No problems found')
})
