/**
 * dueq, in a few pages of TypeScript: what every verb does to the rows, without any I/O. Read this to know what dueq does;
 * the engine in migrations/ does the same with SQL, and the tests beside this file compare the two, step by step.
 *
 * A message is a row. `readyAt` is the instant before which nobody may have it, and it moves forward: a delay puts it in the
 * future, a claim moves it to the end of the lease, a retry by the back-off. There is no state column.
 *
 *                enqueue                                 ack
 *                   │                             ┌───────────────▶ (row deleted)
 *                   ▼      time       dequeue     │
 *               delayed ────────▶ ready ───────▶ leased ───── dead_letter, last nack ───▶ dead
 *                   ▲               ▲ ◀─ release ─┤ │ time                                │ │
 *                   └─ nack, release with delay ──┘ ▼                              redrive │ │ purge_dead
 *                                   ▲            lapsed ── dequeue: leased again,         │ ▼
 *                                   │                      or dead, the budget used up    │ (row deleted)
 *                                   └───────────── a new message ◀────────────────────────┘
 *
 * This file: the nouns, producing, and settling. claim.ts: what one claim takes. operate.ts: queues, and the operator's
 * verbs. views.ts: what people see. Tables are those of one session: what other open transactions do to it is in sessions.ts.
 */

/** Microseconds since the run began; `Duration` is microseconds too. */
export type Instant = number
export type Duration = number

export type Settings = {
  readonly lease: Duration
  readonly maxAttempts: number
  readonly backoffBase: Duration
  readonly backoffMax: Duration
  readonly pollInterval: Duration
  /** null: no limit. */
  readonly maxDepth: number | null
}

/** `levels` are the priorities ever enqueued, in dequeue order: smaller first. */
export type Queue = Settings & {
  readonly name: string
  readonly levels: readonly number[]
  readonly pausedAt: Instant | null
}

/** What live messages and dead letters have in common. */
export type Letter = {
  readonly id: number
  readonly queue: string
  readonly priority: number
  readonly payload: number
  readonly dedupKey: string | null
  readonly enqueuedAt: Instant
  /** What the producer asked for; only reschedule changes it. */
  readonly dueAt: Instant
  /** The number of the delivery. It never decreases: with the id it is the fence. */
  readonly attempt: number
  /** The budget is spent by these: nacks, and lapses when somebody comes to notice them. */
  readonly failures: number
  readonly lapses: number
  readonly lastError: string | null
}
export type Message = Letter & {
  readonly readyAt: Instant
  readonly leasedBy: string | null
  /** While leased: the `readyAt` that the claim replaced. */
  readonly readySince: Instant | null
}
export type DeadLetter = Letter & { readonly reason: string; readonly diedAt: Instant }

/** A table as one session sees it. Changing a row locks it until the end of the transaction. */
export type Table<Row> = {
  get(key: number | string): Row | undefined
  /** All rows, in the order of their keys. */
  all(): readonly Row[]
  /** Locks a row, or is refused (55P03) where another session holds it: the engine waits for a moment only. */
  lock(row: Row): void
  /** SKIP LOCKED: whether the row could be locked without waiting. */
  tryLock(row: Row): boolean
  /** The row that a unique key collides with. Refused (55P03) while another session is about to add, change or delete it. */
  collision(isSame: (row: Row) => boolean): Row | undefined
  put(row: Row): void
  remove(row: Row): void
}

export type World = {
  readonly now: Instant
  readonly queues: Table<Queue>
  readonly messages: Table<Message>
  readonly deadLetters: Table<DeadLetter>
  /** Ids grow, and are never used again; a refused or rolled back insert leaves a gap. */
  nextId(): number
  /** Chance: some instant of this range, for the message. */
  draw(message: Message, from: Instant, to: Instant): Instant
  /** Whether so many more are refused at the limit: for sure only in one session, and within what others bring that is not committed. */
  isFull(depth: number, wanted: number, maxDepth: number): boolean
}

/** The verb was refused, and nothing has changed. `code` is the SQLSTATE. */
export class Refused extends Error {
  readonly code: string
  constructor(code: string) {
    super(code)
    this.code = code
  }
}

export const second = 1_000_000
const hour = 3_600 * second

/** A queue, which has to exist. */
export function known(world: World, name: string): Queue {
  const queue = world.queues.get(name)
  if (!queue) throw new Refused('DQ001')
  return queue
}

export function checkLease(lease: Duration | null): void {
  if (lease !== null && (lease < second || lease > 12 * hour)) throw new Refused('DQ002')
}

/** `delay` counts from now, `at` is an instant; with neither it is now. An instant in the past is due at once. */
export function dueAtOf({ now }: World, delay: Duration | null, at: Instant | null): Instant {
  if (delay !== null && at !== null) throw new Refused('DQ004')
  if (delay !== null && delay < 0) throw new Refused('DQ002')
  return at ?? now + (delay ?? 0)
}

// --- produce ---

export type Draft = {
  readonly payload: number
  readonly delay: Duration | null
  readonly at: Instant | null
  readonly priority: number
  readonly dedupKey: string | null
}
export type Enqueued = { readonly id: number; readonly created: boolean }

export function enqueue(world: World, name: string, draft: Draft): Enqueued {
  return enqueueMany(world, name, [draft])[0]!
}

/** All or none. Ids are in the order of the drafts; the inserts in that of the dedup keys, so that two callers cannot deadlock. */
export function enqueueMany(world: World, name: string, drafts: readonly Draft[]): readonly Enqueued[] {
  const dueAts = drafts.map(({ delay, at }) => dueAtOf(world, delay, at))
  const queue = known(world, name)
  openLevels(world, queue, new Set(drafts.map(({ priority }) => priority)))
  takeRoom(world, queue, drafts)
  const ids = drafts.map(() => world.nextId())
  const results: Enqueued[] = []
  for (const [position, draft] of [...drafts.entries()].sort(([, a], [, b]) => byDedupKey(a, b))) {
    results[position] = insert(world, ids[position]!, name, dueAts[position]!, draft)
  }
  return results
}

/** The queue remembers the levels in use: dequeue looks at no others. */
function openLevels(world: World, queue: Queue, levels: ReadonlySet<number>): void {
  if ([...levels].every((level) => queue.levels.includes(level))) return
  world.queues.lock(queue)
  world.queues.put({ ...queue, levels: [...new Set([...queue.levels, ...levels])].sort((a, b) => a - b) })
}

/** The depth is the number of live messages. A key that lives already needs no room. */
function takeRoom(world: World, { name, maxDepth }: Queue, drafts: readonly Draft[]): void {
  if (maxDepth === null) return
  const live = world.messages.all().filter(({ queue }) => queue === name)
  const keys = new Set(drafts.map(({ dedupKey }) => dedupKey).filter((key) => key !== null))
  const fresh = [...keys].filter((key) => !live.some(({ dedupKey }) => dedupKey === key)).length
  const wanted = fresh + drafts.filter(({ dedupKey }) => dedupKey === null).length
  if (wanted > 0 && world.isFull(live.length, wanted, maxDepth)) throw new Refused('DQ007')
}

/** A message without a key comes last. */
export function byDedupKey(a: Pick<Letter, 'dedupKey'>, b: Pick<Letter, 'dedupKey'>): number {
  return (a.dedupKey ?? '~') < (b.dedupKey ?? '~') ? -1 : (a.dedupKey ?? '~') > (b.dedupKey ?? '~') ? 1 : 0
}

/** At most one live message of a queue has a dedup key: where there is one, it stays as it is, and its id is the answer. */
export function insert(
  world: World,
  id: number,
  queue: string,
  dueAt: Instant,
  { priority, payload, dedupKey }: Pick<Letter, 'priority' | 'payload' | 'dedupKey'>,
): Enqueued {
  if (dedupKey !== null) {
    const live = world.messages.collision((message) => message.queue === queue && message.dedupKey === dedupKey)
    if (live) return { id: live.id, created: false }
  }
  const message = { id, queue, priority, payload, dedupKey, dueAt, readyAt: dueAt, enqueuedAt: world.now }
  const unclaimed = { attempt: 0, failures: 0, lapses: 0, lastError: null, leasedBy: null, readySince: null }
  world.messages.put({ ...message, ...unclaimed })
  return { id, created: true }
}

// --- settle: each verb needs the lease of that very attempt ---

/** The message, if this attempt still holds its lease. A lapsed lease that nobody has claimed again still counts. */
function held({ messages }: World, id: number, attempt: number): Message | undefined {
  const message = messages.get(id)
  if (!message || message.attempt !== attempt || message.leasedBy === null) return undefined
  messages.lock(message)
  return message
}

export function ack(world: World, id: number, attempt: number): boolean {
  const message = held(world, id, attempt)
  if (message) world.messages.remove(message)
  return message !== undefined
}

/** Failed: ready again after the delay or the back-off, or dead where that was the last failure allowed. */
export function nack(world: World, id: number, attempt: number, error: string | null, delay: Duration | null) {
  const delayed = dueAtOf(world, delay, null)
  const message = held(world, id, attempt)
  if (!message) return null
  const { maxAttempts, backoffBase, backoffMax } = known(world, message.queue)
  const failures = message.failures + 1
  if (failures >= maxAttempts) {
    die(world, message, { reason: 'exhausted', lastError: error ?? message.lastError, failures })
    return 'dead'
  }
  // Doubled with each failure; random in the upper half, so that messages which failed together do not come back together.
  const backoff = Math.min(backoffMax, backoffBase * 2 ** (failures - 1))
  const readyAt = delay === null ? world.draw(message, world.now + backoff / 2, world.now + backoff) : delayed
  world.messages.put({ ...message, readyAt, failures, lastError: error, leasedBy: null, readySince: null })
  return 'retry'
}

/** Given back, to its old place or after the delay. Not a failure. */
export function release(world: World, id: number, attempt: number, delay: Duration | null): boolean {
  const delayed = dueAtOf(world, delay, null)
  const message = held(world, id, attempt)
  if (!message) return false
  const readyAt = delay === null ? message.readySince! : delayed
  world.messages.put({ ...message, readyAt, leasedBy: null, readySince: null })
  return true
}

/** The end of the lease moves to that long from now, never to an earlier instant. */
export function extend(world: World, id: number, attempt: number, lease: Duration | null): Instant | null {
  checkLease(lease)
  const message = held(world, id, attempt)
  if (!message) return null
  const readyAt = Math.max(message.readyAt, world.now + (lease ?? known(world, message.queue).lease))
  world.messages.put({ ...message, readyAt })
  return readyAt
}

export function deadLetter(world: World, id: number, attempt: number, reason: string, error: string | null): boolean {
  const message = held(world, id, attempt)
  if (message) die(world, message, { reason, lastError: error ?? message.lastError, failures: message.failures + 1 })
  return message !== undefined
}

/** To the dead letters. The dedup key is free from here on. */
export function die(
  world: World,
  { readyAt, leasedBy, readySince, ...letter }: Message,
  end: Pick<DeadLetter, 'reason'> & Partial<DeadLetter>,
): void {
  world.messages.remove({ ...letter, readyAt, leasedBy, readySince })
  world.deadLetters.put({ ...letter, diedAt: world.now, ...end })
}
