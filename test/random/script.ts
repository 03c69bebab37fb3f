/**
 * What happens in a random run, as plain data: who consumes when, who enqueues, whose transaction stays open, what is lost.
 * Times are milliseconds of the run.
 *
 *   quiet    many queues with a consumer that sleeps or is about to, and one thing that happens: a transaction that began before
 *            it slept and ends after, a retry, a redrive, a queue that resumes. Whatever wakes too few is not hidden by others
 *   woken    few queues with everything that may happen to messages
 *   polled   the same where notifications are lost on the way, or nobody listens, and the clock of the database travels
 *
 * But for `polled` the poll interval is an hour: nothing but a notification, or what a look has said, brings anybody back.
 */
import fc from 'fast-check'

/** What the handler of a message does at its first attempt; at later ones it returns. */
export type Does =
  | 'return'
  | 'ack'
  | 'throw'
  | 'nack'
  | 'release'
  | 'deadLetter'
  | 'ack and commit'
  | 'ack and roll back'

export type Draft = {
  readonly does: Does
  readonly workMs: number
  readonly delayMs: number
  readonly priority: number
  readonly dedupKey: string | null
}

export type Isolation = 'read committed' | 'repeatable read'

export type Act = { readonly at: number; readonly queue: number } & (
  | { readonly act: 'consume'; readonly client: number; readonly concurrency: number; readonly forMs: number }
  /** One after the other, without waiting for answers: what is called in one turn may travel together. */
  | { readonly act: 'enqueue'; readonly drafts: readonly Draft[]; readonly gapMs: number }
  | { readonly act: 'enqueueMany'; readonly drafts: readonly Draft[] }
  | {
      readonly act: 'transaction'
      readonly isolation: Isolation
      readonly drafts: readonly Draft[]
      readonly enqueueAfterMs: number
      readonly endAfterMs: number
      readonly end: 'commit' | 'rollback'
    }
  | { readonly act: 'reschedule'; readonly nth: number; readonly delayMs: number }
  | { readonly act: 'cancel'; readonly nth: number }
  | { readonly act: 'redrive' }
  | { readonly act: 'pause'; readonly forMs: number }
  /** A snapshot that keeps dead rows from being removed. */
  | { readonly act: 'snapshot'; readonly forMs: number }
  | { readonly act: 'cutListeners' }
  | { readonly act: 'travel'; readonly byMs: number }
)

export type Script = {
  readonly queueCount: number
  readonly pollMs: number
  /** Whether notifications arrive, and a wait as long as the poll interval is a fault. */
  readonly isWoken: boolean
  readonly acts: readonly Act[]
}

const hourMs = 3_600_000

const draft: fc.Arbitrary<Draft> = fc.record({
  does: fc.constantFrom<Does>(
    ...Array<Does>(12).fill('return'),
    ...(['ack', 'throw', 'throw', 'nack', 'release', 'deadLetter', 'ack and commit', 'ack and roll back'] as const),
  ),
  workMs: fc.constantFrom(0, 0, 0, 1, 5, 20),
  delayMs: fc.constantFrom(0, 0, 0, 0, 3, 40, 300, 1_500),
  priority: fc.constantFrom(0, 0, 0, 0, -5, 7),
  dedupKey: fc.constantFrom(null, null, null, null, null, 'a', 'b'),
})
/** Without a key: whoever enqueues the same one waits for the transaction, and gives up. */
const keyless = draft.map((given): Draft => ({ ...given, dedupKey: null }))
const isolation = fc.constantFrom<Isolation>('read committed', 'read committed', 'repeatable read')
const end = fc.constantFrom<'commit' | 'rollback'>('commit', 'commit', 'commit', 'rollback')

// --- quiet ---

type OnQueue = (queue: number) => readonly Act[]

const stays = { act: 'consume', concurrency: 10, forMs: hourMs } as const

/** A consumer and a transaction; which comes first is a matter of milliseconds. */
const encounter: fc.Arbitrary<OnQueue> = fc
  .record({
    consumeAt: fc.integer({ min: 50, max: 400 }),
    beginBefore: fc.integer({ min: -40, max: 50 }),
    enqueueAfterMs: fc.constantFrom(0, 0, 0, 1, 4, 15, 60),
    endAfterMs: fc.constantFrom(0, 1, 3, 8, 15, 30, 60, 120, 300, 900, 2_000),
    isolation,
    end,
    draft: keyless,
    client: fc.nat(2),
  })
  .map(({ consumeAt, beginBefore, client, draft: one, ...transaction }) => (queue) => [
    { at: consumeAt, queue, client, ...stays },
    { at: consumeAt - beginBefore, queue, act: 'transaction', drafts: [one], ...transaction },
  ])

const plain: Draft = { does: 'return', workMs: 0, delayMs: 0, priority: 0, dedupKey: null }
const soon = fc.constantFrom(0, 3, 40, 300, 1_500)

/** What happens to one message, or a few, while the consumer sleeps. */
const incident: fc.Arbitrary<readonly (Omit<Act, 'queue'> & Partial<Act>)[]> = fc.oneof(
  fc
    .tuple(fc.array(keyless, { minLength: 1, maxLength: 12 }), fc.constantFrom(0, 1, 3, 8))
    .map(([drafts, gapMs]) => [{ at: 0, act: 'enqueue' as const, drafts, gapMs }]),
  fc
    .constantFrom<Does>('throw', 'nack', 'release', 'ack and roll back')
    .map((does) => [{ at: 0, act: 'enqueue' as const, drafts: [{ ...plain, does }], gapMs: 0 }]),
  soon.map((delayMs) => [
    { at: 0, act: 'enqueue' as const, drafts: [{ ...plain, delayMs: hourMs }], gapMs: 0 },
    { at: 200, act: 'reschedule' as const, nth: 0, delayMs },
  ]),
  soon.map((delayMs) => [
    { at: 0, act: 'pause' as const, forMs: 400 },
    { at: 200, act: 'enqueue' as const, drafts: [{ ...plain, delayMs }], gapMs: 0 },
  ]),
  fc.constant([
    { at: 0, act: 'enqueue' as const, drafts: [{ ...plain, does: 'deadLetter' as const }], gapMs: 0 },
    { at: 500, act: 'redrive' as const },
  ]),
)
const asleep: fc.Arbitrary<OnQueue> = fc
  .record({ startAt: fc.integer({ min: 500, max: 1_200 }), client: fc.nat(2), incident })
  .map(({ startAt, client, incident: acts }) => (queue) => [
    { at: 0, queue, client, ...stays },
    ...acts.map((one) => ({ ...one, at: startAt + one.at, queue }) as Act),
  ])

export const quiet: fc.Arbitrary<Script> = fc
  .array(fc.oneof(encounter, asleep), { minLength: 36, maxLength: 36 })
  .map((drawn) => ({
    queueCount: drawn.length,
    pollMs: hourMs,
    isWoken: true,
    acts: drawn.flatMap((acts, queue) => acts(queue)),
  }))

// --- woken, polled ---

const lastMs = 3_000
const anyTime = fc.record({ at: fc.nat(lastMs), queue: fc.nat(2) })
const at = <T>(act: fc.Arbitrary<T>): fc.Arbitrary<T & { at: number; queue: number }> =>
  fc.tuple(anyTime, act).map(([time, what]) => ({ ...time, ...what }))

const act = <Name extends Act['act'], Fields>(
  name: Name,
  fields: { [Key in keyof Fields]: fc.Arbitrary<Fields[Key]> },
) => at(fc.record(fields).map((given) => ({ act: name, ...(given as Fields) })))

const bare = (name: 'redrive' | 'cutListeners') => at(fc.constant({ act: name }))

const common: readonly fc.WeightedArbitrary<Act>[] = [
  {
    weight: 10,
    arbitrary: act('enqueue', {
      drafts: fc.array(draft, { minLength: 1, maxLength: 12 }),
      gapMs: fc.constantFrom(0, 0, 1, 3, 8),
    }),
  },
  { weight: 3, arbitrary: act('enqueueMany', { drafts: fc.array(draft, { minLength: 1, maxLength: 60 }) }) },
  {
    weight: 6,
    arbitrary: act('transaction', {
      isolation,
      drafts: fc.array(keyless, { minLength: 1, maxLength: 3 }),
      enqueueAfterMs: fc.constantFrom(0, 0, 5, 100, 800),
      endAfterMs: fc.constantFrom(0, 2, 20, 200, 1_000, 2_000),
      end,
    }),
  },
  { weight: 4, arbitrary: act('reschedule', { nth: fc.nat(5), delayMs: fc.constantFrom(0, 0, 20, 1_000) }) },
  { weight: 2, arbitrary: act('cancel', { nth: fc.nat(5) }) },
  { weight: 2, arbitrary: bare('redrive') },
  { weight: 1, arbitrary: act('pause', { forMs: fc.constantFrom(0, 50, 600) }) },
  { weight: 1, arbitrary: act('snapshot', { forMs: fc.constantFrom(200, 1_500) }) },
  {
    weight: 2,
    arbitrary: act('consume', {
      client: fc.nat(2),
      concurrency: fc.constantFrom(1, 5, 30),
      forMs: fc.constantFrom(50, 500, 2_000, hourMs),
    }),
  },
  { weight: 1, arbitrary: bare('cutListeners') },
]

/** Every queue has a consumer that stays, and free hands. */
const staying: readonly Act[] = [0, 1, 2].map((queue) => ({
  at: 0,
  queue,
  act: 'consume',
  client: queue,
  concurrency: 20,
  forMs: hourMs,
}))

const mixed = (pollMs: fc.Arbitrary<number>, isWoken: boolean, acts: readonly fc.WeightedArbitrary<Act>[]) =>
  fc.record({
    queueCount: fc.constant(3),
    pollMs,
    isWoken: fc.constant(isWoken),
    // Few acts leave the consumers asleep now and then; many keep them busy.
    acts: fc
      .oneof(
        fc.array(fc.oneof(...acts), { minLength: 15, maxLength: 25, size: 'max' }),
        fc.array(fc.oneof(...acts), { minLength: 80, maxLength: 120, size: 'max' }),
      )
      .map((drawn) => [...staying, ...drawn]),
  }) satisfies fc.Arbitrary<Script>

export const woken: fc.Arbitrary<Script> = mixed(fc.constant(hourMs), true, common)

export const polled: fc.Arbitrary<Script> = mixed(fc.constantFrom(150, 400, 900), false, [
  ...common,
  { weight: 2, arbitrary: act('travel', { byMs: fc.constantFrom(200, 1_500, 20_000) }) },
])
