/**
 * A crew: consumer processes on one queue, each with a journal of its own, started and watched by this process.
 *
 *   member: starting -> running -> stopped
 *                          `-> killed
 *
 * Invariant: a member that ends without being told to is an error of the run, never a gap in its result.
 */
import { type ChildProcess, fork } from 'node:child_process'
import { once } from 'node:events'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import type { CrewOrder, CrewReport } from './crew-consumer.js'

export type CrewOptions = Omit<CrewOrder, 'name' | 'journal'> & {
  readonly count: number
  /** Where the journals are written. */
  readonly directory: string
  /** Hears of each tally of each member. */
  readonly onTally?: (tally: CrewTally, member: CrewMember) => void
}

export type CrewTally = Extract<CrewReport, { readonly type: 'tally' }>

export type CrewMember = {
  /** The name under which it holds leases. */
  readonly name: string
  readonly pid: number
  readonly state: 'starting' | 'running' | 'killed' | 'stopped'
  /** Messages claimed and not settled, as last reported; of a killed one, before its end. */
  readonly held: number
  readonly delivered: number
  /** SIGKILL, and waits for the end. */
  kill(): Promise<void>
}

export type Crew = {
  readonly members: readonly CrewMember[]
  readonly journals: readonly string[]
  /** Rejects when a member ends that was neither killed nor stopped here; never resolves. */
  readonly failed: Promise<never>
  /** Lets handlers under way finish, and waits until all members are gone. */
  stop(): Promise<void>
  /** Ends all members at once. Safe at any time. */
  abandon(): Promise<void>
}

/** Starts the members, and waits until each consumes. */
export async function startCrew(options: CrewOptions): Promise<Crew> {
  const { count, directory, onTally, ...common } = options
  const { url, schema, isEmbedded, isKept } = options.place
  const place = { url, schema, isEmbedded, isKept }
  let fail: (error: Error) => void = () => {}
  const failed = new Promise<never>((_, reject) => {
    fail = reject
  })
  failed.catch(() => {}) // whoever waits for something races it with this
  const members = Array.from({ length: count }, (_, index) => {
    const name = `consumer ${index + 1}`
    const order: CrewOrder = { ...common, place, name, journal: join(directory, `${index + 1}.ndjson`) }
    return startMember(order, onTally, fail)
  })
  const all = async (act: (member: Member) => Promise<void>): Promise<void> => {
    await Promise.all(members.map(act))
  }
  const crew: Crew = {
    members,
    journals: members.map(({ journal }) => journal),
    failed,
    stop: () => Promise.race([all((member) => member.stop()), failed]),
    abandon: () => all((member) => member.kill()),
  }
  try {
    await Promise.race([all((member) => member.ready), failed])
  } catch (error) {
    await crew.abandon()
    throw error
  }
  return crew
}

// --- internal ---

type Member = CrewMember & {
  readonly journal: string
  readonly ready: Promise<void>
  stop(): Promise<void>
}

const program = fileURLToPath(new URL('./crew-consumer.js', import.meta.url))

function startMember(order: CrewOrder, onTally: CrewOptions['onTally'], fail: (error: Error) => void): Member {
  const { name, journal } = order
  const child: ChildProcess = fork(program, [], {
    env: { ...process.env, DUEQ_CREW_ORDER: JSON.stringify(order) },
    execArgv: [],
    stdio: ['ignore', 'ignore', 'pipe', 'ipc'],
  })
  let state: CrewMember['state'] = 'starting'
  let held = 0
  let delivered = 0
  let isWanted = true
  let trouble = ''
  child.stderr!.on('data', (chunk: Buffer) => {
    trouble = `${trouble}${chunk}`.slice(-2000)
  })
  const exited = once(child, 'exit').then(
    ([code, signal]) => {
      if (state === 'killed') return
      state = 'stopped'
      held = 0
      if (isWanted || code !== 0) fail(new Error(`${name} ended by itself (${signal ?? code}). ${trouble}`.trim()))
    },
    (error: Error) => fail(error),
  )
  const ready = new Promise<void>((resolve) => {
    child.on('message', (what: CrewReport) => {
      if (what.type === 'ready') {
        state = 'running'
        resolve()
      } else if (what.type === 'failed') trouble += what.message
      else {
        held = what.held
        delivered += what.delivered
        onTally?.(what, member)
      }
    })
  })
  const member: Member = {
    name,
    journal,
    pid: child.pid ?? -1,
    ready,
    get state() {
      return state
    },
    get held() {
      return held
    },
    get delivered() {
      return delivered
    },
    async kill() {
      isWanted = false
      if (child.exitCode === null && child.signalCode === null) {
        state = 'killed'
        child.kill('SIGKILL')
      }
      await exited
    },
    async stop() {
      isWanted = false
      if (state === 'running') child.send({ type: 'stop' })
      await exited
    },
  }
  return member
}
