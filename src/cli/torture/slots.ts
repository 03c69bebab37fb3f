/**
 * The places of a run's processes. A place outlives its processes: it has a name, a way to the database that faults lie
 * in, and a journal for each process that was in it.
 *
 *   down -> starting -> up -- killed, or by its own hand --> down -> …
 *                        `-- told to stop --> gone
 *
 * Invariant: a process that ends in any other way, or does not end when told to, fails the run: what a fault does to dueq
 * must neither end an application nor keep it from ending.
 */
import { type ChildProcess, fork } from 'node:child_process'
import { once } from 'node:events'
import { join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import { startProxy, type TcpProxy } from '../proxy.js'
import type { MemberCommand, MemberCounts, MemberOrder, MemberReport } from './member.js'

export type SlotOptions = Pick<
  MemberOrder,
  'place' | 'queue' | 'leaseMs' | 'rate' | 'seed' | 'prepare' | 'isSpared'
> & {
  readonly name: string
  readonly role: 'producer' | 'consumer'
  readonly listenUrl: string
  /** Of its sessions, so that they are told from all others. */
  readonly application: string
  /** Whether the way leads through a proxy: not where the URL names what a proxy cannot stand for. */
  readonly isProxied: boolean
  readonly directory: string
  readonly fail: (error: Error) => void
}

export type Slot = Pick<SlotOptions, 'name' | 'role' | 'application' | 'isSpared'> & {
  /** The way of the statements, and that of LISTEN. */
  readonly road: TcpProxy | undefined
  readonly ear: TcpProxy | undefined
  /** Of all processes so far. */
  readonly journals: readonly string[]
  /** Sums over all processes so far, except `held`. */
  readonly counts: MemberCounts
  /** How often a process ended by its own hand. */
  readonly crashCount: number
  /** By how much the Date of the process was off when it was last set, in ms. */
  readonly clockOffMs: number
  readonly pid: number | undefined
  /** Whether a process is at work. */
  readonly isUp: boolean
  /** Starts a process where there is none. Whether it works through a pooler stays what it was where that is not given. */
  start(how?: { readonly isPooled?: boolean }): Promise<void>
  /** SIGKILL, and waits for the end. */
  kill(): Promise<void>
  signal(name: 'SIGSTOP' | 'SIGCONT'): void
  send(command: MemberCommand): void
  /** Lets it finish. One that does not by the deadline, in ms, is killed, and fails the run. */
  stop(deadlineMs: number): Promise<void>
  /** Ends the process and its ways. */
  close(): Promise<void>
}

/** Long enough for a machine that is busy with other things, and a server that is down for a while. */
const startMs = 60_000
/** Between a crash and the start of the next process. */
const restartMs = 300

export async function openSlot(options: SlotOptions): Promise<Slot> {
  const { name, role, application, isSpared, directory, fail } = options
  const named = (url: string): string => {
    const parsed = new URL(url)
    parsed.searchParams.set('application_name', application)
    return parsed.href
  }
  const direct = named(options.place.url)
  const listening = named(options.listenUrl)
  const road = options.isProxied ? await startProxy(direct) : undefined
  const ear = options.isProxied ? await startProxy(listening) : undefined
  const program = fileURLToPath(new URL(`./${role}.js`, import.meta.url))
  const journals: string[] = []
  const before = noCounts()
  let latest = noCounts()
  let child: ChildProcess | undefined
  let exited: Promise<void> = Promise.resolve()
  let isWanted = false
  let isClosed = false
  let isUp = false
  let crashCount = 0
  let clockOffMs = 0
  let isPooled = false
  let restarting: NodeJS.Timeout | undefined

  const start = async (how: { readonly isPooled?: boolean } = {}): Promise<void> => {
    isPooled = how.isPooled ?? isPooled
    if (child || isClosed) return
    const journal = join(directory, `${name.replace(' ', '-')}.${journals.length + 1}.ndjson`)
    const order: MemberOrder = {
      ...{ place: options.place, queue: options.queue, leaseMs: options.leaseMs, rate: options.rate, isSpared },
      ...{ name, journal, seed: options.seed + journals.length, prepare: options.prepare && !isPooled },
      ...{ url: road?.url ?? direct, listenUrl: ear?.url ?? listening },
    }
    journals.push(journal)
    const started = fork(program, [], {
      // Not among the arguments, which other users can read: the URL holds a password.
      env: { ...process.env, NODE_OPTIONS: '', DUEQ_TORTURE_ORDER: JSON.stringify(order) },
      execArgv: [],
      stdio: ['ignore', 'ignore', 'pipe', 'ipc'],
    })
    child = started
    isWanted = true
    let trouble = ''
    started.stderr!.on('data', (chunk: Buffer) => {
      trouble = `${trouble}${chunk}`.slice(-3000)
    })
    const ready = new Promise<void>((resolve) => {
      started.on('message', (what: MemberReport) => {
        if (what.type === 'ready') {
          isUp = true
          resolve()
        } else if (what.type === 'counts') latest = what.counts
        else clockOffMs = what.offMs
      })
    })
    exited = once(started, 'exit').then(([code, signal]) => {
      for (const key of Object.keys(before) as (keyof MemberCounts)[]) before[key] += latest[key]
      before.held = 0
      latest = noCounts()
      child = undefined
      isUp = false
      if (!isWanted) return
      isWanted = false
      if (signal !== 'SIGKILL') return fail(new Error(`${name} ended by itself (${signal ?? code}). ${trouble}`.trim()))
      crashCount++
      restarting = setTimeout(() => void start(), restartMs)
    })
    const timer = setTimeout(() => fail(new Error(`${name} did not start. ${trouble}`.trim())), startMs)
    await Promise.race([ready, exited])
    clearTimeout(timer)
  }
  const kill = async (): Promise<void> => {
    isWanted = false
    clearTimeout(restarting)
    child?.kill('SIGKILL')
    await exited
  }
  return {
    ...{ name, role, application, isSpared, road, ear, journals },
    get counts() {
      const keys = Object.keys(before) as (keyof MemberCounts)[]
      return Object.fromEntries(keys.map((key) => [key, before[key] + latest[key]])) as MemberCounts
    },
    get crashCount() {
      return crashCount
    },
    get clockOffMs() {
      return clockOffMs
    },
    get pid() {
      return child?.pid
    },
    get isUp() {
      return isUp
    },
    start,
    kill,
    signal: (signal) => void child?.kill(signal),
    send(command) {
      if (child?.connected) child.send(command, () => {})
    },
    async stop(deadlineMs) {
      isClosed = true
      isWanted = false
      if (child?.connected) child.send({ type: 'stop' }, () => {})
      const late = delay(deadlineMs, 'late', { ref: false })
      if ((await Promise.race([exited, late])) === 'late') fail(new Error(`${name} did not end when told to.`))
      await kill()
    },
    async close() {
      isClosed = true
      await kill()
      await road?.[Symbol.asyncDispose]()
      await ear?.[Symbol.asyncDispose]()
    },
  }
}

// --- internal ---

function noCounts(): MemberCounts {
  return {
    ...{ enqueued: 0, unknown: 0, rolledBack: 0, claimed: 0, acked: 0 },
    ...{ refused: 0, leasesLost: 0, errors: 0, listensLost: 0, held: 0 },
  }
}
