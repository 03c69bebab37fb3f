// Node closes a TLS socket before it tells of a write that failed, where the socket below was destroyed; and postgres.js 3.4.9
// takes all its listeners away when it closes. So what dueq cuts off must close from above (src/cut-off.ts).
import { execFileSync } from 'node:child_process'
import { chmodSync, chownSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import { afterAll, expect, it } from 'vitest'
import { createScratch, removeScratch } from '../../src/cli/embedded-scratch.js'
import { serverUser, temporaryBase } from '../../src/cli/embedded-user.js'
import { startProxy } from '../../src/cli/proxy.js'
import { startOwnServer } from '../support/own-server.js'
import { killAll, startProcess } from '../support/processes.js'

afterAll(killAll)

/** A certificate and its key that the server can read; undefined where there is no openssl. */
function certificate(directory: string): { readonly ssl_cert_file: string; readonly ssl_key_file: string } | undefined {
  const [cert, key] = [join(directory, 'server.crt'), join(directory, 'server.key')]
  const command = 'req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 -subj /CN=localhost'
  try {
    execFileSync('openssl', [...command.split(' '), '-keyout', key, '-out', cert], { stdio: 'ignore' })
  } catch {
    return undefined
  }
  const user = serverUser()
  for (const path of [cert, key]) {
    chmodSync(path, 0o600)
    if (user) chownSync(path, user.uid, user.gid)
  }
  return { ssl_cert_file: cert, ssl_key_file: key }
}

it('statements that are cut off in the middle, over TLS, end no application', async (test) => {
  const directory = await createScratch(temporaryBase(serverUser()))
  try {
    const files = certificate(directory)
    if (!files) return test.skip('There is no openssl')
    await using server = await startOwnServer(test, { settings: { ssl: 'on', ...files } })
    await using proxy = await startProxy(`${server.url}?sslmode=require`)
    const child = startProcess('test/hazards/fixtures/tls-cut-off.mjs', [], { DUEQ_URL: proxy.url })
    await child.waitForLine<{ isReady?: true }>(({ isReady }) => isReady === true)
    for (let round = 0; round < 6; round++) {
      await delay(300)
      proxy.freeze(round % 2 ? {} : { way: 'toServer' })
      await delay(700)
      proxy.thaw()
      proxy.cut()
    }
    process.kill(child.pid, 'SIGTERM')
    const { uncaught } = await child.waitForLine<{ uncaught?: string[] }>((line) => line.uncaught !== undefined)
    expect(uncaught).toEqual([])
  } finally {
    await removeScratch(directory)
  }
}, 60_000)
