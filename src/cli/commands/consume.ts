// dueq consume: a consumer whose handler is a shell command.
//
//   running -- SIGTERM, SIGINT --> stopping (commands under way finish) -- again --> releasing (they are killed) --> ended
//
// Exit code 0 of the command acks; everything else nacks, except where it was killed because dueq wanted the message back.
import type { Command } from 'commander'
import type { StopOptions } from '../../client.js'
import type { Consumer } from '../../consumer.js'
import { DueqError } from '../../errors.js'
import type { DueqEvent } from '../../events.js'
import { type Duration, durationMs } from '../../options.js'
import {
  durationOption,
  numberOption,
  runOn,
  type Session,
  type SharedOptions,
  shared,
  storedQueue,
} from '../command.js'
import { exec } from '../exec.js'
import { printJson, say } from '../output.js'

type Options = SharedOptions & {
  readonly exec: string
  readonly concurrency: number
  readonly lease?: Duration
  readonly drain?: boolean
  readonly deadline?: Duration
}

export function consumeCommand(program: Command): void {
  const command = program
    .command('consume <queue>')
    .description('run a shell command on each message as it becomes due')
    .requiredOption('--exec <command>', 'the command; exit code 0 acks, everything else nacks')
    .option('--concurrency <n>', 'commands at once, 1 to 10000', numberOption, 1)
    .option('--lease <duration>', 'how long a message is held between extensions (default: as stored)', durationOption)
    .option('--drain', 'end when nothing is ready any more')
    .option('--deadline <duration>', 'how long to wait for commands when stopping (default: 30s)', durationOption)
    .addHelpText(
      'after',
      `
The command gets the payload as JSON on stdin, and DUEQ_ID, DUEQ_ATTEMPT, DUEQ_QUEUE and DUEQ_DUE_AT in its environment.
The last 4 kB of its stderr become the last error of the message. SIGTERM or SIGINT: commands under way finish; a second
one: they are killed, and their messages given back.`,
    )
  shared(command).action((queue: string, options: Options) => {
    const tally = createTally(options.json === true)
    return runOn(options, (session) => consume(session, queue, options, tally), tally.onEvent)
  })
}

// --- internal ---

/** How often the same kind of error is told, in ms. */
const sameErrorMs = 60_000

async function consume(session: Session, queue: string, options: Options, tally: Tally): Promise<void> {
  const { concurrency, lease } = options
  const deadline = durationMs('deadline', options.deadline ?? '30s', { max: '1d' })
  await storedQueue(session, queue) // fails at once where a consumer would try again and again
  const consumer = session.dueq.queue(queue).consume(
    (message) => {
      tally.noteStart(message.id, message.attempt)
      return exec(options.exec, message, { stdoutTo: session.isJson ? 2 : 1 })
    },
    { concurrency, lease, prefetch: 0 },
  )
  // Once only: every further line that is written raises it again.
  const onUnread = (): void => {
    if (process.exitCode) return
    process.exitCode = 1
    say('nobody reads stdout any more: stopping.')
    consumer.stop({ deadline }).catch(() => {})
  }
  process.stdout.on('error', onUnread)
  const release = stopOnSignals(consumer, deadline)
  try {
    // A drain may take long; it is the stopping for which --deadline is meant.
    if (options.drain) consumer.stop({ mode: 'drain', deadline: options.deadline ?? '1d' }).catch(() => {})
    const { stillRunning } = await consumer.stopped
    say(tally.summary())
    if (stillRunning > 0)
      throw new DueqError(
        'timeout',
        `${stillRunning} commands still ran at the deadline and were killed; their messages come again when their leases end.`,
      )
  } finally {
    release()
  }
}

/** The first signal stops, the second one takes the messages back. */
function stopOnSignals(consumer: Consumer, deadline: number): () => void {
  let mode: StopOptions['mode'] = 'finish'
  const onSignal = (signal: NodeJS.Signals): void => {
    say(mode === 'finish' ? `${signal}: stopping; once more kills the commands.` : `${signal}: killing the commands.`)
    consumer.stop({ mode, deadline }).catch(() => {})
    mode = 'release'
  }
  process.on('SIGTERM', onSignal).on('SIGINT', onSignal)
  return () => void process.off('SIGTERM', onSignal).off('SIGINT', onSignal)
}

type Tally = {
  noteStart(id: string, attempt: number): void
  readonly onEvent: (event: DueqEvent) => void
  summary(): string
}

/** Counts what becomes of the messages and tells of each: as NDJSON on stdout, or of failures only to people. */
function createTally(isJson: boolean): Tally {
  const counts = { acked: 0, failed: 0, released: 0 }
  const startedAt = new Map<string, number>()
  const settled = (
    event: { readonly queue: string; readonly id: string; readonly attempt: number },
    outcome: string,
    error?: string,
  ): void => {
    const key = `${event.id} ${event.attempt}`
    const start = startedAt.get(key)
    startedAt.delete(key)
    const runMs = start === undefined ? undefined : Math.round(performance.now() - start)
    const { queue, id, attempt } = event
    if (isJson) printJson({ queue, id, attempt, outcome, runMs, error })
    else if (error !== undefined) say(`message ${id}, attempt ${attempt}, failed (${outcome}): ${error}`)
  }
  const saidAt = new Map<string, number>()
  /** An outage fails once a second; a line a minute says so as well. */
  const sayAtTimes = ({ code, message }: DueqError): void => {
    const now = performance.now()
    if (now < (saidAt.get(code) ?? -sameErrorMs) + sameErrorMs) return
    saidAt.set(code, now)
    say(`${message} Trying again.`)
  }
  return {
    noteStart(id, attempt) {
      startedAt.set(`${id} ${attempt}`, performance.now())
    },
    onEvent(event) {
      if (event.type === 'message.acked') {
        counts.acked++
        settled(event, 'acked')
      } else if (event.type === 'message.failed') {
        counts.failed++
        settled(event, event.outcome, event.error instanceof Error ? event.error.message : String(event.error))
      } else if (event.type === 'message.released') {
        counts.released++
        settled(event, 'released')
      } else if (event.type === 'listen.lost' || event.type === 'listen.silent' || event.type === 'lease.lost')
        say(event.error.message)
      // A permanent error ends the consumer, and is printed as the error of the command.
      else if (event.type === 'consumer.error' && Number.isFinite(event.retryMs)) sayAtTimes(event.error)
    },
    summary: () => `stopped: ${counts.acked} acked, ${counts.failed} failed, ${counts.released} given back`,
  }
}
