// The whole suite on PostgreSQL in containers: Testcontainers with 17 and 18, and the server of docker-compose.yml.
// Needs a Docker engine, and `docker compose` or `docker-compose`.
// Usage: npm run test:containers -- [--servers 17,18,compose] [test files]
import { spawnSync } from 'node:child_process'
import { setTimeout as delay } from 'node:timers/promises'
import pg from 'pg'
import { freePort } from '../dist/esm/cli/embedded-process.js'
import { readArguments, runVariants } from './variants.mjs'

const startDeadlineMs = 120_000

const { servers, files } = readArguments({ servers: { all: ['17', '18', 'compose'] } })
const variants = servers.map((server) =>
  server === 'compose'
    ? { name: 'docker-compose.yml', start: startCompose }
    : {
        name: `Testcontainers, PostgreSQL ${server}`,
        env: { DUEQ_TEST_BACKEND: 'testcontainers', DUEQ_TEST_PG_MAJOR: server },
      },
)
await runVariants(variants, files)

/** A project and a port of its own: the developer's containers go on beside it. */
async function startCompose() {
  const port = await freePort()
  const env = { ...process.env, DUEQ_PG_PORT: String(port) }
  const compose = (...args) => {
    const [file, ...rest] = [...composeCommand(), '--project-name', `dueq-test-${process.pid}`, ...args]
    const { status } = spawnSync(file, rest, { env, stdio: 'inherit' })
    if (status !== 0) throw new Error(`${[file, ...rest].join(' ')} ended with ${status}`)
  }
  const stop = async () => compose('down', '--volumes')
  const url = `postgres://dueq:dueq@127.0.0.1:${port}/dueq`
  try {
    compose('up', '--detach', 'postgres')
    // Not by `--wait`, which `docker-compose` 1 does not have.
    await answers(url)
  } catch (error) {
    await stop()
    throw error
  }
  return { env: { DUEQ_TEST_DATABASE_URL: url }, stop }
}

function composeCommand() {
  const commands = [['docker', 'compose'], ['docker-compose']]
  const found = commands.find(([file, ...args]) => spawnSync(file, [...args, 'version']).status === 0)
  if (!found) throw new Error('Neither `docker compose` nor `docker-compose` runs here: install one of them.')
  return found
}

async function answers(url) {
  const deadline = Date.now() + startDeadlineMs
  for (;;) {
    const client = new pg.Client({ connectionString: url, connectionTimeoutMillis: 2_000 })
    client.on('error', () => {})
    try {
      await client.connect()
      return
    } catch (error) {
      if (Date.now() > deadline) throw error
      await delay(200)
    } finally {
      await client.end().catch(() => {})
    }
  }
}
