/** PgBouncer in transaction mode before the test server, where it is installed. */
import { type ChildProcess, execFileSync, spawn } from 'node:child_process'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import pg from 'pg'

export type Pooler = { readonly url: string; [Symbol.asyncDispose](): Promise<void> }

/** The version of the installed PgBouncer, as 1.18; null where none is installed. */
export const pgbouncerVersion: string | null = (() => {
  try {
    return /PgBouncer (\d+\.\d+)/.exec(execFileSync('pgbouncer', ['--version'], { encoding: 'utf8' }))?.[1] ?? null
  } catch {
    return null
  }
})()

export async function startPooler(target: string): Promise<Pooler> {
  const { hostname, port, username, password, pathname } = new URL(target)
  const own = await freePort()
  const directory = mkdtempSync(join(tmpdir(), 'dueq-pgbouncer-'))
  const config = join(directory, 'pgbouncer.ini')
  const server = `host=${hostname} port=${port || 5432} user=${decodeURIComponent(username)} password='${decodeURIComponent(password)}'`
  writeFileSync(
    config,
    `[databases]
* = ${server} dbname=${pathname.slice(1)}
[pgbouncer]
listen_addr = 127.0.0.1
listen_port = ${own}
unix_socket_dir =
auth_type = any
pool_mode = transaction
default_pool_size = 5
ignore_startup_parameters = extra_float_digits
logfile = /dev/null
`,
    { mode: 0o644 },
  )
  // It refuses to run as root, and then has to read its file as another user.
  const isRoot = process.getuid?.() === 0
  if (isRoot) execFileSync('chmod', ['755', directory])
  const child: ChildProcess = spawn('pgbouncer', [...(isRoot ? ['-u', 'nobody'] : []), config], { stdio: 'ignore' })
  const url = `postgres://any@127.0.0.1:${own}/any`
  for (let attempt = 0; attempt < 200 && child.exitCode === null && !(await answers(url)); attempt++) await delay(25)
  if (child.exitCode !== null) throw new Error(`PgBouncer ended with exit code ${child.exitCode}`)
  return {
    url,
    async [Symbol.asyncDispose]() {
      if (child.exitCode === null) {
        const gone = new Promise((resolve) => child.once('exit', resolve))
        child.kill('SIGKILL')
        await gone
      }
      rmSync(directory, { recursive: true })
    },
  }
}

function freePort(): Promise<number> {
  return new Promise((resolve) => {
    const probe = createServer().listen(0, '127.0.0.1', () => {
      const { port } = probe.address() as { port: number }
      probe.close(() => resolve(port))
    })
  })
}

async function answers(connectionString: string): Promise<boolean> {
  const client = new pg.Client({ connectionString, connectionTimeoutMillis: 1_000 })
  client.on('error', () => {})
  try {
    await client.connect()
    await client.query('select 1')
    return true
  } catch {
    return false
  } finally {
    await client.end().catch(() => {})
  }
}
