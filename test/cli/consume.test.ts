import { setTimeout as delay } from 'node:timers/promises'
import { afterAll, expect, test } from 'vitest'
import { startProxy } from '../faults/proxy.js'
import { freshSchema } from '../support/database.js'
import { killAll } from '../support/processes.js'
import { dueqOn } from './dueq.js'

const schema = await freshSchema()
const dueq = dueqOn(schema)
const { sql } = schema
afterAll(async () => {
  killAll()
  await schema.close()
})

/** A queue whose retries come late, with these messages. */
async function queueOf(name: string, ...payloads: readonly string[]): Promise<void> {
  const prefix = sql(schema.schema)
  await sql`select ${prefix}.create_queue(queue => ${name}, backoff_base => '1 hour', backoff_max => '1 hour')`
  for (const payload of payloads)
    await sql`select id from ${prefix}.enqueue(queue => ${name}, payload => ${payload}::text::jsonb)`
}
const counts = async (queue: string) => (await dueq('stats', queue, '--json')).json<Record<string, number>>()
const isStarted = (line: unknown): boolean => String(line).startsWith('started')

type Settled = { readonly id: string; readonly attempt: number; readonly outcome: string; readonly error?: string }

test('exit code 0 acks; the payload is on stdin, the rest in the environment, and nothing of it in the shell', async () => {
  await queueOf('acked', '{"text":"$(echo interpolated) `echo too` ; \\"quoted\\""}')
  const command = 'cat; echo "$DUEQ_QUEUE $DUEQ_ATTEMPT $DUEQ_DUE_AT"'
  const ended = await dueq('consume', 'acked', '--drain', '--exec', command)
  expect(ended.code).toBe(0)
  const [payload, environment] = ended.stdout.split('\n')
  expect(JSON.parse(payload!)).toEqual({ text: '$(echo interpolated) `echo too` ; "quoted"' })
  expect(environment).toMatch(/^acked 1 \d{4}-\d\d-\d\dT[\d:.]+Z$/)
  expect(ended.stderr).toBe('dueq: stopped: 1 acked, 0 failed, 0 given back\n')
  expect(await counts('acked')).toMatchObject({ ready: 0, delayed: 0, leased: 0 })
})

test('another exit code nacks, and the end of stderr is the last error', async () => {
  await queueOf('failed', '1')
  const command = 'head -c 9000 /dev/zero | tr "\\0" x >&2; echo "the end" >&2; exit 3'
  const ended = await dueq('consume', 'failed', '--drain', '--json', '--exec', command)
  expect(ended.code).toBe(0)
  const settled = ended.json<Settled>()
  expect(settled).toMatchObject({ attempt: 1, outcome: 'retry' })
  const [message] = (await dueq('peek', 'failed', '--json')).json<{ state: string; lastError: string }[]>()
  expect(message).toMatchObject({ state: 'delayed', lastError: settled.error })
  expect(message?.lastError).toMatch(/^exit code 3: x+the end$/)
  expect(message?.lastError.length).toBeLessThanOrEqual(4000)
})

test('--json prints a line for each settled message and nothing else; a killed command is a nack', async () => {
  await queueOf('mixed', '"fine"', '"killed"')
  const command = 'read -r payload; echo noise; [ "$payload" = \'"fine"\' ] || kill -9 $$'
  const ended = await dueq('consume', 'mixed', '--drain', '--json', '--concurrency', '2', '--exec', command)
  const lines = ended.stdout
    .trim()
    .split('\n')
    .map((line) => JSON.parse(line) as Settled)
  expect(lines.map(({ outcome }) => outcome).sort()).toEqual(['acked', 'retry'])
  expect(lines.find(({ outcome }) => outcome === 'retry')?.error).toBe('killed by SIGKILL')
  expect(ended.stderr).toContain('noise')
})

test('SIGTERM lets the command under way finish, and claims no more', async () => {
  await queueOf('stopped', '1', '2')
  const consumer = dueq.start('consume', 'stopped', '--exec', 'echo started; sleep 0.7; echo finished')
  await consumer.waitForLine(isStarted)
  await consumer.kill('SIGTERM')
  expect(await consumer.exited).toEqual({ code: 0, signal: null })
  expect(consumer.lines).toEqual(['started', 'finished'])
  expect(consumer.stderr).toContain('stopped: 1 acked, 0 failed, 0 given back')
  expect(await counts('stopped')).toMatchObject({ ready: 1, leased: 0 })
})

test('a second signal kills the command and gives its message back, which is no failure', async () => {
  await queueOf('released', '1')
  const consumer = dueq.start('consume', 'released', '--exec', 'echo started $$; sleep 60')
  await consumer.waitForLine(isStarted)
  process.kill(consumer.pid, 'SIGINT')
  await expect.poll(() => consumer.stderr).toContain('stopping')
  await consumer.kill('SIGINT')
  expect(await consumer.exited).toMatchObject({ code: 0 })
  const [message] = (await dueq('peek', 'released', '--json')).json<Record<string, unknown>[]>()
  expect(message).toMatchObject({ state: 'ready', failures: 0, attempt: 1 })
})

test('a command that is ended by the deadline gives its message back', async () => {
  await queueOf('interrupted', '1')
  const consumer = dueq.start('consume', 'interrupted', '--deadline', '100ms', '--exec', 'echo started; sleep 60')
  await consumer.waitForLine(isStarted)
  await consumer.kill('SIGTERM')
  expect(await consumer.exited).toMatchObject({ code: 0 })
  expect(await counts('interrupted')).toMatchObject({ ready: 1, leased: 0 })
})

test('a command that outlives the deadline is killed, and the exit code says so', async () => {
  await queueOf('overdue', '1')
  const stubborn = `trap '' TERM; echo started; sleep 60`
  const consumer = dueq.start('consume', 'overdue', '--deadline', '100ms', '--exec', stubborn)
  await consumer.waitForLine(isStarted)
  await consumer.kill('SIGTERM')
  expect(await consumer.exited).toMatchObject({ code: 1 })
  expect(consumer.stderr).toContain('still ran at the deadline')
})

test('a command that is killed from outside is a nack, and the consumer goes on', async () => {
  await queueOf('shot', '1', '2')
  const command =
    'if [ "$DUEQ_ATTEMPT" = 1 ] && read -r n && [ "$n" = 1 ]; then echo started $$; exec sleep 60; fi; echo second'
  const consumer = dueq.start('consume', 'shot', '--exec', command)
  const started = await consumer.waitForLine<string>(isStarted)
  process.kill(Number(started.split(' ')[1]), 'SIGKILL')
  await consumer.waitForLine((line) => line === 'second')
  await consumer.kill('SIGTERM')
  expect(consumer.stderr).toContain('failed (retry): killed by SIGKILL')
  expect(await counts('shot')).toMatchObject({ delayed: 1, ready: 0 })
})

test('a lost lease kills the command', async () => {
  await queueOf('lost', '1')
  const consumer = dueq.start('consume', 'lost', '--lease', '1s', '--exec', 'echo started; sleep 60; echo survived')
  await consumer.waitForLine(isStarted)
  await dueq('purge', 'lost', '--include-leased', '--yes')
  await expect.poll(() => consumer.stderr, { timeout: 5000 }).toContain('failed (lost): killed by SIGTERM')
  await consumer.kill('SIGTERM')
  expect(consumer.lines).toEqual(['started'])
})

test('a consumer without --drain waits for messages to come', async () => {
  await queueOf('waiting')
  const consumer = dueq.start('consume', 'waiting', '--json', '--exec', 'cat >/dev/null')
  await delay(300)
  await dueq('enqueue', 'waiting', '1')
  expect(await consumer.waitForLine<Settled>(() => true)).toMatchObject({ outcome: 'acked' })
  await consumer.kill('SIGTERM')
  expect(await consumer.exited).toEqual({ code: 0, signal: null })
})

test('SIGTERM ends a drain as well, and leaves the rest', async () => {
  await queueOf('drained', '1', '2', '3')
  const consumer = dueq.start('consume', 'drained', '--drain', '--exec', 'echo started; sleep 0.5')
  await consumer.waitForLine(isStarted)
  await consumer.kill('SIGTERM')
  expect(await consumer.exited).toEqual({ code: 0, signal: null })
  expect(await counts('drained')).toMatchObject({ ready: 2, leased: 0 })
})

test('where nobody reads stdout any more the consumer stops with exit code 1, and no message stays leased', async () => {
  await queueOf('unread', ...Array.from({ length: 50 }, (_, n) => String(n)))
  const consumer = dueq.start('consume', 'unread', '--json', '--exec', 'sleep 0.2')
  await consumer.waitForLine<Settled>(({ outcome }) => outcome === 'acked')
  consumer.stopReading()
  expect(await consumer.exited).toMatchObject({ code: 1 })
  expect(consumer.stderr).toContain('nobody reads stdout any more')
  expect(await counts('unread')).toMatchObject({ leased: 0, lapsed: 0 })
})

test('an outage is told once a minute, not at every try', async () => {
  await queueOf('outage', '1')
  await using proxy = await startProxy(schema.url)
  const consumer = dueq.start('consume', 'outage', '--url', proxy.url, '--json', '--exec', 'true')
  await consumer.waitForLine<Settled>(({ outcome }) => outcome === 'acked')
  proxy.refuse()
  proxy.cut()
  await expect.poll(() => consumer.stderr, { timeout: 20_000 }).toContain('Trying again')
  await delay(4_000) // some six tries
  expect(consumer.stderr.match(/Trying again/g)).toHaveLength(1)
  await consumer.kill()
})
