/**
 * Steps real sessions through all interleavings of their programs, one statement at a time.
 *
 * After each step every program whose last statement is answered may be next; one whose statement waits for a lock is passed
 * over until it is free. All choices are made, one run after the other: a run repeats the choices of the last but one of
 * its alternatives, and from there on takes the first program that can go on.
 */
import { setTimeout as delay } from 'node:timers/promises'
import type { EngineSession } from '../sql/engine.js'

/** One statement of a program. */
export type Step<Run> = (session: EngineSession, run: Run) => Promise<unknown>

/** What is played, each time from the beginning. */
export type Scene<Run> = {
  readonly title: string
  readonly programs: readonly (readonly [name: string, ...steps: readonly Step<Run>[]])[]
  setUp(): Promise<Run>
  /** What is wrong once all programs are over; nothing: all is well. */
  judge(run: Run): Promise<readonly string[]>
}

export type Outcome = {
  readonly count: number
  /** How many of them had a statement that waited for a lock. */
  readonly waited: number
  /** The first interleaving that broke something, as the names of the programs in the order of their steps. */
  readonly broken: { readonly order: string; readonly problems: readonly string[] } | undefined
}

/** Plays all interleavings, or up to the first that breaks something. */
export async function playAll<Run>(
  scene: Scene<Run>,
  sessions: readonly EngineSession[],
  observer: EngineSession,
): Promise<Outcome> {
  let choices: number[] = []
  let count = 0
  let waited = 0
  for (;;) {
    const played = await play(scene, sessions, observer, choices)
    count++
    if (played.hasWaited) waited++
    if (played.problems.length > 0) {
      const order = played.order.map((program) => scene.programs[program]![0]).join(' ')
      return { count, waited, broken: { order, problems: played.problems } }
    }
    let last = played.taken.length - 1
    while (last >= 0 && played.taken[last]! + 1 >= played.widths[last]!) last--
    if (last < 0) return { count, waited, broken: undefined }
    choices = [...played.taken.slice(0, last), played.taken[last]! + 1]
  }
}

// --- internal ---

type Played = {
  readonly order: readonly number[]
  /** The choice at each point, and how many there were. */
  readonly taken: readonly number[]
  readonly widths: readonly number[]
  readonly hasWaited: boolean
  readonly problems: readonly string[]
}

async function play<Run>(
  { programs, setUp, judge }: Scene<Run>,
  sessions: readonly EngineSession[],
  observer: EngineSession,
  choices: readonly number[],
): Promise<Played> {
  const run = await setUp()
  const next = programs.map(() => 1)
  const underWay = new Map<number, Promise<unknown>>()
  const [order, taken, widths]: [number[], number[], number[]] = [[], [], []]
  let hasWaited = false
  const settle = async (): Promise<void> => {
    for (const program of [...underWay.keys()]) {
      // Most statements are answered before anybody can ask whether they wait.
      for (let tries = 0; underWay.has(program); tries++) {
        await Promise.race([underWay.get(program), delay(tries === 0 ? 20 : 1)])
        if (underWay.has(program) && (await isBlocked(observer, sessions[program]!.pid))) {
          hasWaited = true
          break
        }
      }
    }
  }
  for (;;) {
    const ready = programs.flatMap((steps, program) =>
      next[program]! < steps.length && !underWay.has(program) ? [program] : [],
    )
    if (ready.length === 0 && underWay.size === 0) break
    if (ready.length > 0) {
      const choice = Math.min(choices[taken.length] ?? 0, ready.length - 1)
      const program = ready[choice]!
      taken.push(choice)
      widths.push(ready.length)
      order.push(program)
      const step = programs[program]![next[program]!++] as Step<Run>
      underWay.set(
        program,
        step(sessions[program]!, run).finally(() => underWay.delete(program)),
      )
    }
    await settle()
  }
  return { order, taken, widths, hasWaited, problems: await judge(run) }
}

async function isBlocked(observer: EngineSession, pid: number): Promise<boolean> {
  return observer.value<boolean>(
    `select wait_event_type = 'Lock' and cardinality(pg_blocking_pids(pid)) > 0 from pg_stat_activity where pid = $1`,
    [pid],
  )
}
