// The programs of docs/usage.md and the first example of the README: type-checked with the types that are shipped, and run.
import { spawn, spawnSync } from 'node:child_process'
import { once } from 'node:events'
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import { dirname, join } from 'node:path'
import { transformSync } from 'esbuild'
import pg from 'pg'
import { afterAll, expect, test } from 'vitest'
import { freshSchema } from './support/database.js'

const root = join(import.meta.dirname, '..')
const read = (file: string): string => readFileSync(join(root, file), 'utf8')
const blocks = (text: string, language: string): string[] =>
  [...text.matchAll(new RegExp(`^\`\`\`${language}\\n([\\s\\S]*?)^\`\`\``, 'gm'))].map((match) => match[1]!)

const programs = new Map(blocks(read('docs/usage.md'), 'ts').map((code) => [/^\/\/ (\S+)\.ts\n/.exec(code)![1]!, code]))
programs.set('readme', blocks(read('README.md'), 'ts')[0]!)

// Inside the package, so that `import 'dueq'` finds the package itself.
mkdirSync(join(root, 'test/.programs'), { recursive: true })
const folder = mkdtempSync(join(root, 'test/.programs/usage-'))
for (const [name, code] of programs) {
  writeFileSync(join(folder, `${name}.ts`), code)
  writeFileSync(join(folder, `${name}.js`), transformSync(code, { loader: 'ts', target: 'node20' }).code)
}
const database = await freshSchema()
const env = { ...process.env, DATABASE_URL: database.url, DUEQ_SCHEMA: database.schema, DUEQ_DATABASE_URL: '' }
afterAll(async () => {
  rmSync(folder, { recursive: true, force: true })
  await database.close()
})

function start(name: string) {
  const child = spawn(process.execPath, [join(folder, `${name}.js`)], { env, stdio: ['ignore', 'pipe', 'pipe'] })
  const program = { child, output: '', exited: once(child, 'exit') }
  for (const stream of [child.stdout, child.stderr]) stream.on('data', (data) => (program.output += data))
  return program
}

test('every program passes a strict type check against the shipped types', () => {
  writeFileSync(
    join(folder, 'tsconfig.json'),
    JSON.stringify({
      extends: '../../../tsconfig.json',
      compilerOptions: { skipLibCheck: false, noEmit: true },
      include: ['*.ts'],
    }),
  )
  const tsc = join(dirname(createRequire(import.meta.url).resolve('typescript/package.json')), 'bin/tsc')
  const { stdout } = spawnSync(process.execPath, [tsc, '-p', folder], { encoding: 'utf8' })
  expect(stdout.split('\n').filter((line) => line.includes('.programs/') || line.includes('dist/'))).toEqual([])
})

test('the usage page has the twelve usages', () => {
  expect([...read('docs/usage.md').matchAll(/^## \d+\./gm)]).toHaveLength(12)
})

const runToTheEnd = ['setup', 'produce', 'shared-pool', 'transaction', 'settle', 'own-writes', 'drain', 'raw', 'loop']
test.for(runToTheEnd)('%s.ts runs to its end', async (name) => {
  const queueIsReady = start('setup')
  expect(await queueIsReady.exited).toEqual([0, null])
  const { exited, ...program } = start(name)
  const [code] = await exited
  expect({ name, code, output: program.output }).toMatchObject({ code: 0 })
})

test.for(['worker', 'readme'])('%s.ts handles a message and stops on SIGTERM', async (name) => {
  await start('setup').exited
  const program = start(name)
  if (name === 'worker') await start('shared-pool').exited
  await expect.poll(() => program.output, { timeout: 10_000 }).toMatch(/remind/)
  program.child.kill('SIGTERM')
  expect(await program.exited).toEqual([0, null])
})

test('the SQL of the usage page runs', async () => {
  const client = new pg.Client(database.url)
  await client.connect()
  for (const code of blocks(read('docs/usage.md'), 'sql'))
    await client.query(code.replaceAll('dueq.', `${database.schema}.`))
  await client.end()
})
