// dueq doctor: looks for what makes queues slow, late or unsafe, from this host and inside the database.
import type { Command } from 'commander'
import type { DueqEvent } from '../../events.js'
import { epochMs } from '../../message.js'
import type { Check } from '../../statements-operate.js'
import { createWakeups } from '../../wakeup.js'
import { runOn, type Session, type SharedOptions, shared } from '../command.js'
import { withoutPasswords } from '../exit-codes.js'
import { print, printJson } from '../output.js'
import { formatDuration, formatMs, safeText, table } from '../table.js'

const listenWithinMs = 8_000
const skewLimitMs = 5_000

export function doctorCommand(program: Command): void {
  const command = program
    .command('doctor')
    .description('look for what makes queues slow, late or unsafe; exits with 1 where a check fails')
  shared(command).action((options: SharedOptions) =>
    runOn(options, async (session) => {
      const { schemaVersion, roundTripMs } = await session.dueq.check()
      const inDatabase = await session.dueq.doctor()
      const connection = `schema version ${schemaVersion}, first answer after ${formatMs(roundTripMs)}`
      const checks: readonly Check[] = [
        { check: 'connection', ok: true, detail: connection, advice: null },
        await checkClock(session),
        await checkListen(session),
        ...inDatabase,
      ]
      if (checks.some(({ ok }) => !ok)) process.exitCode = 1
      if (session.isJson) printJson({ ok: checks.every(({ ok }) => ok), checks })
      else print(report(checks))
    }),
  )
}

// --- internal ---

/** The server's time lies between sending and receiving; the fastest of three looks says most. */
async function checkClock({ query, statements }: Session): Promise<Check> {
  let best = { skewMs: 0, roundTripMs: Number.POSITIVE_INFINITY }
  for (let look = 0; look < 3; look++) {
    const [sentAt, start] = [Date.now(), performance.now()]
    const serverMs = epochMs(await statements.serverTime(query))
    const roundTripMs = performance.now() - start
    if (roundTripMs < best.roundTripMs) best = { skewMs: serverMs - (sentAt + roundTripMs / 2), roundTripMs }
  }
  const { skewMs, roundTripMs } = best
  const ok = Math.abs(skewMs) <= skewLimitMs + roundTripMs
  const relation = skewMs > 0 ? 'ahead of' : 'behind'
  return {
    check: 'clock skew',
    ok,
    detail: `the database is ${formatDuration(Math.abs(skewMs))} ${relation} this host (± ${formatMs(roundTripMs / 2)})`,
    advice: ok
      ? null
      : 'dueq goes by the clock of the database alone, so delays are right; instants (`at`) that this host computes are off by as much. Synchronise the clocks.',
  }
}

/** Listens the way a consumer does, and waits for a notification to itself. */
async function checkListen({ query, statements, schema, listenSource }: Session): Promise<Check> {
  let heard: (event: DueqEvent | undefined) => void = () => {}
  const first = new Promise<DueqEvent | undefined>((resolve) => {
    heard = resolve
  })
  const start = performance.now()
  const timer = setTimeout(() => heard(undefined), listenWithinMs)
  const wakeups = createWakeups({
    source: listenSource,
    channel: schema,
    notify: (channel, payload) => statements.notify(query, channel, payload),
    emit: heard,
  })
  const unsubscribe = wakeups.subscribe('doctor', () => {})
  const event = await first
  const tookMs = performance.now() - start
  clearTimeout(timer)
  unsubscribe()
  await wakeups.close()
  if (event?.type === 'listen.up')
    return { check: 'listen', ok: true, detail: `notifications arrive (${formatMs(tookMs)})`, advice: null }
  const detail =
    event?.type === 'listen.lost'
      ? withoutPasswords(event.error.message)
      : `no notification to ourselves arrived within ${formatDuration(tookMs)}: probably a pooler in transaction mode`
  return {
    check: 'listen',
    ok: false,
    detail,
    advice:
      'Consumers poll instead, at every poll interval. Set DUEQ_LISTEN_URL (listenUrl) to a connection past the pooler.',
  }
}

function report(checks: readonly Check[]): string {
  const rows = checks.map(({ check, ok, detail }) => [ok ? 'ok' : 'FAILS', check, detail])
  const advice = checks.flatMap(({ check, ok, advice }) => (ok || !advice ? [] : [`${check}: ${safeText(advice)}`]))
  return [table(['', 'check', 'found'], rows), ...(advice.length > 0 ? ['', ...advice] : [])].join('\n')
}
