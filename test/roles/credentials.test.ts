// No password is ever shown: not by an error or its causes, not by an event, the doctor, the command line, or what the server
// and the operating system list of a session.
import { inspect } from 'node:util'
import { afterAll, beforeAll, expect, it } from 'vitest'
import { connect, migrate } from '../../src/index.js'
import { dueqOn } from '../cli/dueq.js'
import { startClient, type TestClient } from '../client/client.js'

const secret = 'Tr0ub4dor'
let test: TestClient
beforeAll(async () => {
  test = await startClient()
})
afterAll(() => test.close())

/** URLs that lead nowhere, each for a reason of its own. */
const broken = (): readonly string[] => {
  const wrongUser = Object.assign(new URL(test.url), { username: 'nobody_here', password: secret }).href
  return [
    `postgres://u:${secret}@127.0.0.1:1/d`,
    `postgres://u:${secret}@nobody.invalid/d`,
    `postgresql://u:${secret}@127.0.0.1:1,127.0.0.1:2/d?target_session_attrs=read-write`,
    `postgres://u:${secret}%40more@127.0.0.1:1/d`,
    `postgres://u@127.0.0.1:1/d?password=${secret}`,
    `postgres://u:${secret}@127.0.0.1:99999/d`,
    `mysql://u:${secret}@h/d`,
    `postgres://u:${secret}@[::1/d`,
    `u:${secret}@h/d`,
    wrongUser,
    Object.assign(new URL(wrongUser), { pathname: '/not_here' }).href,
  ]
}

it('errors of the client, with their causes and all their fields, and its events, show none', async () => {
  for (const url of broken()) {
    const told: unknown[] = []
    try {
      const dueq = connect({
        url,
        listenUrl: url,
        schema: test.schema,
        timeout: '3s',
        onEvent: (event) => told.push(event),
      })
      const consumer = dueq.queue('q').consume(async () => {})
      consumer.stopped.catch((error: unknown) => told.push(error))
      await dueq.check().catch((error: unknown) => told.push(error))
      await dueq.doctor().catch((error: unknown) => told.push(error))
      await consumer.stop({ deadline: '1s' })
      await dueq.close({ deadline: '1s' })
    } catch (error) {
      told.push(error)
    }
    told.push(await migrate({ url, schema: test.schema, timeout: '5s' }).catch((error: unknown) => error))
    expect(told.length, url).toBeGreaterThan(1)
    for (const said of told) {
      expect(inspect(said, { depth: 12, showHidden: true }), url).not.toContain(secret)
      expect(JSON.stringify(said, Object.getOwnPropertyNames(said)), url).not.toContain(secret)
    }
  }
})

it('the command line shows none, for people and in JSON', async () => {
  const [refused, , , , inQuery, , otherProtocol, , , wrongUser] = broken()
  for (const url of [refused!, inQuery!, otherProtocol!, wrongUser!]) {
    const dueq = dueqOn({ url, schema: test.schema })
    for (const args of [['stats'], ['migrate', 'status', '--json']]) {
      const { code, stdout, stderr } = await dueq(...args)
      expect(code, args.join(' ')).not.toBe(0)
      expect(stdout + stderr, `${args.join(' ')} ${url}`).not.toContain(secret)
    }
  }
})

it('on a connection that works: not the name of the application, its statements, or the report of the doctor', async () => {
  const name = `t_${test.schema}`
  await test.sql.unsafe(`create role ${name} login password '${secret}'; grant pg_read_all_stats to ${name};
    grant usage on schema ${test.schema} to ${name}; grant execute on all functions in schema ${test.schema} to ${name};
    grant select on all tables in schema ${test.schema} to ${name}`)
  const url = Object.assign(new URL(test.url), { username: name, password: secret }).href
  try {
    await using dueq = test.anotherByUrl({ url, listenUrl: url })
    expect(JSON.stringify(await dueq.doctor())).not.toContain(secret)
    const rows = await test.sql`select * from pg_stat_activity where usename = ${name}`
    expect(rows.length).toBeGreaterThan(0)
    expect(JSON.stringify(rows)).not.toContain(secret)
    expect(process.title).not.toContain(secret)
  } finally {
    await test.sql`select pg_terminate_backend(pid) from pg_stat_activity where usename = ${name}`
    await test.sql.unsafe(`drop owned by ${name}; drop role ${name}`)
  }
})
