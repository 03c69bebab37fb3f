/**
 * Small programs of real statements, and what must be true when they are over, in whatever order their steps came.
 *
 * - Nobody has an attempt that another has, or settles one twice, or claims under the lease of another.
 * - A message is there, or its ack was committed.
 * - Who decided to sleep, and is not notified, has nothing to look for.
 */
import { setTimeout as delay } from 'node:timers/promises'
import type { Engine, EngineSession } from '../sql/engine.js'
import type { Scene, Step } from './interleave.js'

/** `isFree`: the row was under no lease, or that had ended by the clock of the claim. */
type Claim = { readonly id: string; readonly attempt: number; readonly isFree: boolean; readonly by?: number }

/** What happened in one run. */
export type Run = {
  readonly queue: string
  readonly claims: Claim[]
  readonly settles: string[]
  readonly problems: string[]
  /** By consumer: its hint, and in how many milliseconds it looks again. */
  readonly looks: Map<string, { readonly hint: string | null; readonly nextMs: number; readonly told: number }>
}

type Surroundings = {
  readonly engine: Engine
  /** How many notifications of a queue have arrived. */
  readonly heard: (queue: string) => Promise<number>
}

export function scenes({ engine, heard }: Surroundings): readonly Scene<Run>[] {
  const setUp = async (messages: number): Promise<Run> => {
    const queue = await engine.queue(`lease => '10 seconds', poll_interval => '1 hour'`)
    for (let i = 0; i < messages; i++) await engine.enqueue(queue)
    return { queue, claims: [], settles: [], problems: [], looks: new Map() }
  }
  /** With one message that a consumer has, attempt 1. */
  const setUpLeased = async (): Promise<Run> => {
    const run = await setUp(1)
    const [claim] = await engine.dequeue(run.queue)
    run.claims.push({ ...claim!, isFree: true })
    return run
  }

  const begin: Step<Run> = (session) => session.begin()
  const commit: Step<Run> = (session) => session.commit()
  /** What it claimed is as if it had never been. */
  const rollback: Step<Run> = async (session, { claims }) => {
    await session.rollback()
    claims.splice(0, claims.length, ...claims.filter(({ by }) => by !== session.pid))
  }
  const enqueue: Step<Run> = (session, { queue }) => session.rows(`select id from dueq.enqueue($1, '1')`, [queue])
  const travel: Step<Run> = () => engine.travel('11 seconds')
  /** Claims, and acks with it what attempt 1 is given for. */
  const claim: Step<Run> = (session, run) => poll(session, run)
  const claimAndAck: Step<Run> = (session, run) =>
    poll(
      session,
      run,
      run.claims.find(({ attempt }) => attempt === 1),
    )
  const poll = async (session: EngineSession, { queue, claims, settles, problems }: Run, acked?: Claim) => {
    const rows = await session.rows<Claim & { readonly refused: readonly string[] | null }>(
      `select p.id, p.attempt, p.ready_since <= p.lease_ends_at - interval '10 seconds' as "isFree", p.refused_acks as refused
         from dueq.poll($1, 2, '10 seconds', ack_ids => $2, ack_attempts => $3) p`,
      [queue, acked ? [acked.id] : null, acked ? [acked.attempt] : null],
    )
    if (rows.pop()!.refused === null && acked) {
      if (claims.some(({ attempt }) => attempt > acked.attempt)) problems.push('an old attempt acks with a look')
      settles.push(`${acked.id} ${acked.attempt}`)
    }
    for (const { id, attempt, isFree } of rows) claims.push({ id, attempt, isFree, by: session.pid })
  }
  const settle =
    (call: (id: string) => string, what: string, attempt?: number): Step<Run> =>
    async (session, run) => {
      const held = attempt === undefined ? run.claims.at(-1) : run.claims.find((found) => found.attempt === attempt)
      if (!held) return
      try {
        const answer = await session.value<unknown>(`select dueq.${call(`${held.id}, ${held.attempt}`)}`)
        if (answer === null || answer === false) return
        const latest = Math.max(...run.claims.map((found) => found.attempt))
        if (held.attempt !== latest) run.problems.push(`attempt ${held.attempt} ${what}, and attempt ${latest} has it`)
        if (what !== 'extends') run.settles.push(`${held.id} ${held.attempt}`)
      } catch (error) {
        // Waited for too long, on a machine that is busy: nothing is changed.
        if ((error as { readonly code?: unknown }).code !== '55P03') throw error
      }
    }
  const ack = (attempt?: number): Step<Run> => settle((held) => `ack(${held})`, 'acks', attempt)
  const nack = settle((held) => `nack(${held}, delay => '0')`, 'nacks', 1)
  const extend = settle((held) => `extend(${held}, '1 minute')`, 'extends', 1)

  /** Whether it sleeps, until it is notified or the poll interval of an hour is over. */
  const sleeps = async (consumer: string, { queue, looks }: Run): Promise<boolean> => {
    const last = looks.get(consumer)
    return last !== undefined && last.nextMs > 60_000 && (await heard(queue)) === last.told
  }
  const look =
    (consumer: string): Step<Run> =>
    async (session, run) => {
      if (await sleeps(consumer, run)) return
      const hint = run.looks.get(consumer)?.hint ?? null
      const told = await heard(run.queue)
      const rows = await session.rows<{ id: string | null; attempt: number; hint: string; nextMs: number | null }>(
        `select id, attempt, next_hint as hint, (extract(epoch from next_ready_at - polled_at) * 1000)::float8 as "nextMs"
         from dueq.poll($1, 2, hint => $2, listening => true)`,
        [run.queue, hint],
      )
      const last = rows.pop()!
      for (const { id, attempt } of rows) run.claims.push({ id: id!, attempt, isFree: true })
      run.looks.set(consumer, { hint: last.hint, nextMs: last.nextMs ?? Number.POSITIVE_INFINITY, told })
    }
  /** Consumers go on looking until they sleep; then nothing may be ready. */
  const asleep = async (run: Run): Promise<readonly string[]> => {
    const waiting = async () =>
      Number(
        await engine.value(
          `select count(*) from dueq.messages m join dueq.queues q on q.id = m.queue_id
        where q.name = $1 and m.leased_by is null`,
          [run.queue],
        ),
      )
    for (const consumer of run.looks.keys()) {
      while ((await waiting()) > 0 && !(await sleeps(consumer, run))) {
        await look(consumer)(engine, run)
        // Transactions of strangers, other tests say, keep it awake for as long as they are open.
        if (run.looks.get(consumer)!.nextMs > 0) await delay(2)
      }
    }
    const count = await waiting()
    return count === 0 ? [] : [`everybody sleeps, and ${count} messages are ready`]
  }
  const fenced = async ({ queue, claims, settles, problems }: Run): Promise<readonly string[]> => {
    const found = [...problems]
    const held = claims.map(({ id, attempt }) => `${id} ${attempt}`)
    if (new Set(held).size < held.length) found.push(`an attempt was given twice: ${held}`)
    if (new Set(settles).size < settles.length) found.push(`an attempt was settled twice: ${settles}`)
    if (claims.some(({ isFree }) => !isFree)) found.push('a message was claimed under the lease of another')
    const lost = await engine.value<boolean>(
      `select not exists (select from dueq.messages m join dueq.queues q on q.id = m.queue_id where q.name = $1)`,
      [queue],
    )
    if (lost && settles.length === 0) found.push('a message is gone, and nobody has acked it')
    return found
  }
  const repeatable: Step<Run> = async (session) => {
    await session.begin('repeatable read')
    await session.rows('select 1 from dueq.queues limit 1')
  }
  const shut: Step<Run> = (session) => session.rows('select pg_advisory_lock(7)')
  const open: Step<Run> = (session) => session.rows('select pg_advisory_unlock(7)')

  return [
    {
      title: 'a transaction enqueues while a consumer falls asleep',
      programs: [
        ['producer', begin, enqueue, commit],
        ['consumer', look('a'), look('a'), look('a')],
      ],
      setUp: () => setUp(0),
      judge: asleep,
    },
    {
      title: 'a transaction with an old snapshot enqueues while a consumer falls asleep',
      programs: [
        ['producer', repeatable, enqueue, commit],
        ['consumer', look('a'), look('a'), look('a')],
      ],
      setUp: () => setUp(0),
      judge: asleep,
    },
    {
      title: 'an enqueue is held up before its insert while a consumer falls asleep',
      programs: [
        ['gate', shut, open],
        ['producer', enqueue],
        ['consumer', look('a'), look('a'), look('a')],
      ],
      setUp: () => setUp(0),
      judge: asleep,
    },
    {
      title: 'two consumers fall asleep beside a transaction that enqueues',
      programs: [['producer', begin, enqueue, commit], ['consumer', look('a'), look('a')], ['other', look('b')]], // biome-ignore format: one line is enough
      setUp: () => setUp(0),
      judge: asleep,
    },
    {
      title: 'two claims of the same messages, one of which is rolled back',
      programs: [
        ['first', begin, claim, commit],
        ['second', begin, claim, rollback],
        ['third', claim],
      ],
      setUp: () => setUp(2),
      judge: fenced,
    },
    {
      title: 'two claims of the same messages',
      programs: [
        ['first', begin, claim, commit],
        ['second', begin, claim, commit],
      ],
      setUp: () => setUp(2),
      judge: fenced,
    },
    {
      title: 'a late ack in a transaction, the lapse, and the next claim with its ack',
      programs: [
        ['late', begin, ack(1), commit],
        ['clock', travel],
        ['next', claim, ack(2)],
      ],
      setUp: setUpLeased,
      judge: fenced,
    },
    {
      title: 'a late ack that rides in a look, the lapse, and the next claim with its ack',
      programs: [
        ['late', claimAndAck],
        ['clock', travel],
        ['next', claim, ack(2)],
      ],
      setUp: setUpLeased,
      judge: fenced,
    },
    {
      title: 'a nack, a late ack of the same attempt, and the next claim',
      programs: [
        ['holder', begin, nack, commit],
        ['late', ack(1)],
        ['next', claim],
      ],
      setUp: setUpLeased,
      judge: fenced,
    },
    {
      title: 'an extension, the lapse, and the next claim with its ack',
      programs: [
        ['holder', begin, extend, commit],
        ['clock', travel],
        ['next', claim, ack(2)],
      ],
      setUp: setUpLeased,
      judge: fenced,
    },
  ]
}
