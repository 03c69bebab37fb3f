/**
 * The drain scenario of `dueq bench`: a full queue, a handler that does nothing, one process and several.
 *
 *   fill -> all processes start to consume -> the last message was handled -> they stop
 *
 * The processes live as long as the run, so that neither their start nor their connections are measured. Invariant: one
 * that ends without being told to is an error of the run.
 */
import { type ChildProcess, fork } from 'node:child_process'
import { once } from 'node:events'
import { setTimeout as delay } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import type { DrainerCommand, DrainerOrder, DrainerReport } from './bench-drainer.js'
import { type Bench, fill, type Sample } from './bench-scenario.js'

export type Drainers = {
  drain(queue: string, messages: number, processes: number, signal: AbortSignal): Promise<Drained>
  /** Ends the processes. Safe to call again. */
  close(): Promise<void>
}

export type Drained = {
  /** From the order to consume until the last message was handled. */
  readonly tookMs: number
  readonly delivered: number
  /** Of the processes, on average, as a share of one core. */
  readonly cpuShare: number
}

/** With nothing handled for so long, what is missing is lost: twice the longest sleep of a consumer. */
const patienceMs = 10_000
/** Longer than a process takes to start and connect, or to stop. */
const startDeadlineMs = 30_000
/** What a consumer claims ahead of handlers that take no time. */
const claimedAtOnce = 500

/** By one process, then by several. */
export async function drain(bench: Bench, processes: number): Promise<readonly Sample[]> {
  const queue = await bench.queue('drain')
  const samples: Sample[] = []
  for (const count of new Set([1, processes])) {
    await fill(bench, queue, bench.messages)
    bench.counts.enqueued += bench.messages
    const { tookMs, delivered, cpuShare } = await bench.drainers.drain(queue.name, bench.messages, count, bench.signal)
    bench.counts.delivered += Math.min(delivered, bench.messages)
    bench.counts.lost += Math.max(bench.messages - delivered, 0)
    bench.counts.twice += Math.max(delivered - bench.messages, 0)
    await queue.purge({ includeLeased: true })
    const label = `drain, ${count} process${count === 1 ? '' : 'es'}`
    const value = (delivered * 1000) / tookMs
    // How long a process has for each of its claims.
    const answerMs = (Math.min(claimedAtOnce, bench.messages) * count * 1000) / value
    samples.push({ id: `drain-${count}`, label, unit: 'per second', value, answerMs, cpuShare })
  }
  return samples
}

/** Prepares a place for so many processes; each is started when it is first needed. */
export function createDrainers(order: DrainerOrder): Drainers {
  const members: Member[] = []
  return {
    async drain(queue, messages, processes, signal) {
      while (members.length < processes) members.push(startMember(order))
      const crew = members.slice(0, processes)
      await untilAll(crew, ({ isReady }) => isReady, signal)
      for (const member of crew) member.begin(queue)
      const startedAt = performance.timeOrigin + performance.now()
      const handled = (): number => crew.reduce((sum, { count }) => sum + count, 0)
      await untilHandled(crew, handled, messages, signal)
      const lastAt = Math.max(...crew.map((member) => member.lastAt), startedAt)
      for (const member of crew) member.end()
      await untilAll(crew, ({ cpuMs }) => cpuMs !== undefined, signal)
      const tookMs = Math.max(lastAt - startedAt, Number.EPSILON)
      const cpuMs = crew.reduce((sum, member) => sum + member.cpuMs!, 0)
      return { tookMs, delivered: handled(), cpuShare: Math.min(cpuMs / processes / tookMs, 1) }
    },
    async close() {
      await Promise.all(members.map((member) => member.kill()))
    },
  }
}

// --- internal ---

const program = fileURLToPath(new URL('./bench-drainer.js', import.meta.url))

type Member = {
  readonly isReady: boolean
  readonly count: number
  readonly lastAt: number
  readonly cpuMs: number | undefined
  readonly failure: Error | undefined
  /** Forgets what was counted, and starts to consume. */
  begin(queue: string): void
  /** Lets it stop; `cpuMs` is there when it has. */
  end(): void
  kill(): Promise<void>
}

function startMember(order: DrainerOrder): Member {
  const child: ChildProcess = fork(program, [], {
    env: { ...process.env, DUEQ_BENCH_ORDER: JSON.stringify(order) },
    execArgv: [],
    stdio: ['ignore', 'ignore', 'pipe', 'ipc'],
  })
  const state: { -readonly [Key in keyof Omit<Member, 'begin' | 'end' | 'kill'>]: Member[Key] } = {
    isReady: false,
    count: 0,
    lastAt: 0,
    cpuMs: undefined,
    failure: undefined,
  }
  let trouble = ''
  let isWanted = true
  const fail = (why: string): void => {
    state.failure ??= new Error(`A consumer process ${why}. ${trouble}`.trim())
  }
  child.stderr!.on('data', (chunk: Buffer) => {
    trouble = `${trouble}${chunk}`.slice(-2000)
  })
  const exited = once(child, 'exit').then(
    ([code, signal]) => {
      if (isWanted) fail(`ended by itself (${signal ?? code})`)
    },
    (error: Error) => fail(`could not be started: ${error.message}`),
  )
  child.on('message', (what: DrainerReport) => {
    if (what.type === 'ready') state.isReady = true
    else if (what.type === 'stopped') state.cpuMs = what.cpuMs
    else if (what.type === 'failed') fail(`failed: ${what.message}`)
    else Object.assign(state, { count: what.count, lastAt: what.lastAt })
  })
  const send = (command: DrainerCommand): void => {
    child.send(command, () => {}) // where it is gone, its end says so
  }
  send({ type: 'warm' })
  return Object.assign(state, {
    begin(queue: string) {
      Object.assign(state, { count: 0, lastAt: 0, cpuMs: undefined })
      send({ type: 'drain', queue })
    },
    end: () => send({ type: 'stop' }),
    async kill() {
      isWanted = false
      if (child.exitCode === null && child.signalCode === null) child.kill('SIGKILL')
      await exited
    },
  })
}

async function untilAll(
  members: readonly Member[],
  isSo: (member: Member) => boolean,
  signal: AbortSignal,
): Promise<void> {
  for (const deadline = performance.now() + startDeadlineMs; !members.every(isSo); ) {
    throwIfFailed(members)
    if (performance.now() > deadline) throw new Error('A consumer process gave no answer.')
    await delay(5, undefined, { signal })
  }
}

/** Returns as well where nothing comes any more: a lost message must not make this wait for ever. */
async function untilHandled(
  members: readonly Member[],
  handled: () => number,
  messages: number,
  signal: AbortSignal,
): Promise<void> {
  let seen = 0
  for (let progressAt = performance.now(); seen < messages; ) {
    throwIfFailed(members)
    await delay(5, undefined, { signal })
    if (handled() === seen && performance.now() - progressAt > patienceMs) return
    if (handled() !== seen) progressAt = performance.now()
    seen = handled()
  }
}

function throwIfFailed(members: readonly Member[]): void {
  for (const { failure } of members) if (failure) throw failure
}
