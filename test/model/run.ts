/**
 * One run: commands on the engine and on the model, side by side. After each the answers are compared, and what the acting
 * session sees in the views; after a commit or rollback, what every session sees.
 *
 * A run begins with empty tables. The clock of the schema stands still but for the commands that move it.
 */
import { expect } from 'vitest'
import { type Engine, type EngineSession, startEngine } from '../sql/engine.js'
import type { Command, Moment, Target } from './command.js'
import { creating } from './commands-operate.js'
import { type Instant, Refused, type Settings, second } from './model.js'
import { Database, type Isolation } from './sessions.js'
import { readyAtOf, type Seen, seenOf, seenStatement } from './views.js'

/** Time travel: by that long, or to the nth instant ahead at which something changes, a microsecond beside it perhaps. */
export type Travel = { readonly travel: Instant } | { readonly to: number; readonly beside: -1 | 0 | 1 }
export type Step =
  | Travel
  | { readonly session: number; readonly command: Command }
  | { readonly session: number; readonly begin: Isolation }
  | { readonly session: number; readonly end: 'commit' | 'rollback' }

/** A run begins with one queue, of these settings. */
export type Script = { readonly settings: Partial<Settings>; readonly steps: readonly Step[] }
export type Stage = { readonly run: (script: Script) => Promise<void>; readonly close: () => Promise<void> }

/** A schema with some sessions, for one run after another. */
export async function openStage(sessionCount: number): Promise<Stage> {
  const engine = await startEngine()
  await shortenWaits(engine)
  const sessions = await Promise.all(Array.from({ length: sessionCount }, () => engine.session()))
  // One session speaks at a time, so what waits without a limit of its own waits for good.
  for (const session of sessions) await session.rows(`set statement_timeout = '15s'`)
  return {
    async run({ settings, steps }) {
      const run = await Run.start(engine, sessions)
      try {
        await run.step({ session: 0, command: creating('mail', settings) })
        for (const step of steps) await run.step(step)
      } catch (error) {
        if (error instanceof Error) error.message += `\n\nThe run, with the engine's ids:\n${run.trace.join('\n')}`
        throw error
      } finally {
        await run.end()
      }
    },
    close: () => engine.close(),
  }
}

/** A verb that has to wait for another session is refused: here at once, in earnest after a second or two. */
async function shortenWaits(engine: Engine): Promise<void> {
  const waiting = await engine.rows<{ name: string }>(
    `select p.oid::regprocedure::text as name from pg_proc p
      where p.pronamespace = $1::regnamespace and p.proname <> 'drop_queue' and p.proconfig::text like '%lock_timeout%'`,
    [engine.schema],
  )
  for (const { name } of waiting) await engine.rows(`alter function ${name} set lock_timeout = '10ms'`)
  // Vacuum may hold a table against everyone for longer than that.
  for (const table of ['queues', 'messages', 'dead_letters']) {
    await engine.rows(`alter table dueq.${table} set (autovacuum_enabled = off)`)
  }
}

class Run {
  readonly trace: string[] = []
  readonly #engine: Engine
  readonly #sessions: readonly EngineSession[]
  readonly #origin: string
  readonly #database = new Database()
  /** By the model's ids. 0 is a message that there never was. */
  readonly #engineIds = new Map([[0, '0']])
  readonly #modelIds = new Map([['0', 0]])
  #hasRedriven = false

  private constructor(engine: Engine, sessions: readonly EngineSession[], origin: string) {
    this.#engine = engine
    this.#sessions = sessions
    this.#origin = origin
  }

  static async start(engine: Engine, sessions: readonly EngineSession[]): Promise<Run> {
    await engine.rows('truncate dueq.queues, dueq.messages, dueq.dead_letters')
    return new Run(engine, sessions, await engine.value('select dueq.clock()::text'))
  }

  /** One session sees all, and the limit is exact; but for what was redriven, which is never refused. */
  get #isExact(): boolean {
    return this.#sessions.length === 1 && !this.#hasRedriven
  }

  async end(): Promise<void> {
    for (const [number, session] of this.#sessions.entries()) {
      if (this.#database.isOpen(number)) await session.rollback()
    }
  }

  async step(step: Step): Promise<void> {
    if ('travel' in step || 'to' in step) return this.#travel(step)
    const { session } = step
    if ('command' in step) return this.#perform(session, step.command)
    // What shrinking leaves of a transaction: a begin within one, an end without.
    if ('begin' in step === this.#database.isOpen(session)) return
    const name = 'begin' in step ? `begin isolation level ${step.begin}` : step.end
    this.trace.push(`${session}: ${name}`)
    if ('begin' in step) {
      await this.#sessions[session]!.begin(step.begin)
      // The first statement takes the snapshot.
      await this.#sessions[session]!.rows('select from dueq.queues')
      this.#database.begin(session, step.begin)
    } else {
      await this.#sessions[session]![step.end]()
      this.#database[step.end](session)
    }
    for (const [number] of this.#sessions.entries()) await this.#compareViews(number)
  }

  async #travel(step: Travel): Promise<void> {
    const by = 'travel' in step ? step.travel : this.#untilInstant(step.to) + step.beside
    this.trace.push(`the clock moves by ${by} microseconds`)
    await this.#engine.travel(`${by} microseconds`)
    this.#database.travel(by)
  }

  #untilInstant(nth: number): Instant {
    const { now, messages } = this.#database.committed
    const ahead = [...new Set([...messages.values()].map(({ readyAt }) => readyAt))].filter((readyAt) => readyAt > now)
    return ahead.length === 0 ? second : ahead.sort((a, b) => a - b)[nth % ahead.length]! - now
  }

  async #perform(session: number, command: Command): Promise<void> {
    const plan = command.plan(this.#moment(session))
    this.trace.push(`${session}: ${plan.sql}`)
    const rows = await this.#ask(session, plan.sql)
    const seen = await this.#see(session)
    const expected = this.#database.run(
      session,
      plan.model,
      (message, from, to) => {
        const drawn = readyAtOf(this.#named(seen), message.id) ?? Number.NaN
        expect(drawn, 'the back-off is in the upper half').toBeGreaterThanOrEqual(Math.floor(from))
        expect(drawn, 'the back-off is in the upper half').toBeLessThanOrEqual(Math.ceil(to))
        return drawn
      },
      (depth, wanted, maxDepth) => {
        const isRefused = rows instanceof Refused && rows.code === 'DQ007'
        if (isRefused) expect(depth + wanted, 'a refused queue is full').toBeGreaterThan(maxDepth)
        else if (this.#isExact) expect(depth + wanted, 'the depth with what is let in').toBeLessThanOrEqual(maxDepth)
        return isRefused
      },
    )
    if (plan.sql.includes('redrive')) this.#hasRedriven = true
    this.trace.push(`   -> ${rows instanceof Refused ? rows.code : JSON.stringify(rows)}`)
    if (rows instanceof Refused || expected instanceof Refused) {
      expect(rows instanceof Refused ? rows.code : rows).toEqual(expected instanceof Refused ? expected.code : expected)
    } else {
      expect(plan.read(rows, expected), 'the answer').toEqual(expected)
    }
    await this.#compareViews(session, seen)
  }

  /** In an open transaction behind a savepoint, so that a refused verb does not end it. */
  async #ask(number: number, sql: string): Promise<readonly Record<string, unknown>[] | Refused> {
    const session = this.#sessions[number]!
    const isOpen = this.#database.isOpen(number)
    if (isOpen) await session.rows('savepoint before')
    try {
      return await session.rows(sql)
    } catch (error) {
      if (isOpen) await session.rows('rollback to savepoint before')
      const { code } = error as { readonly code?: unknown }
      if (typeof code !== 'string') throw error
      return new Refused(code)
    }
  }

  #see(session: number): Promise<Seen> {
    return this.#sessions[session]!.rows<Seen>(seenStatement(this.#origin)).then(([seen]) => seen!)
  }

  async #compareViews(session: number, seen?: Seen): Promise<void> {
    const wanted = this.#database.run(session, seenOf)
    expect(this.#named(seen ?? (await this.#see(session))), `what session ${session} sees`).toEqual(wanted)
  }

  /** With the model's ids. */
  #named(seen: Seen): Seen {
    const named = (row: Record<string, unknown>) => ({ ...row, id: this.#modelIds.get(String(row['id'])) ?? row['id'] })
    return { ...seen, messages: seen.messages.map(named), deadLetters: seen.deadLetters.map(named) }
  }

  #moment(session: number): Moment {
    let view: Moment['world'] | undefined
    this.#database.run(session, (world) => {
      view = world
    })
    const world = view!
    return {
      world,
      origin: this.#origin,
      pick: ({ of, nth, attempt }: Target) => {
        const leased = world.messages.all().filter(({ leasedBy }) => leasedBy !== null)
        const ids = of === 'leased' && leased.length > 0 ? leased.map(({ id }) => id) : [...this.#engineIds.keys()]
        const id = ids[nth % ids.length]!
        return { id, attempt: (world.messages.get(id)?.attempt ?? 1) + attempt }
      },
      pickDead: (positions) => {
        const ids = world.deadLetters.all().map(({ id }) => id)
        return positions?.map((position) => ids[position % ids.length] ?? 0) ?? null
      },
      engineId: (id) => this.#engineIds.get(id) ?? '0',
      modelId: (engineId, created) => {
        const text = String(engineId)
        if (created !== undefined && !this.#modelIds.has(text)) {
          const [known, knownText] = [...this.#engineIds].at(-1)!
          expect(BigInt(text) > BigInt(knownText), 'the order of ids').toBe(created > known)
          this.#engineIds.set(created, text)
          this.#modelIds.set(text, created)
        }
        return this.#modelIds.get(text) ?? Number.NaN
      },
    }
  }
}
