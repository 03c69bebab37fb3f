/**
 * What one claim takes, of the model: order, leases, lapses, and the isolation of messages that lapse; and the verbs that
 * settle or extend many leases in one statement, which like a claim pass over what another session holds.
 */
import {
  checkLease,
  type Duration,
  die,
  dueAtOf,
  type Instant,
  known,
  type Message,
  nack,
  type Queue,
  Refused,
  release,
  type World,
} from './model.js'

export type Claim = {
  readonly message: Message
  readonly lateness: Duration
  /** It has lapsed for half of its budget: the consumer claims nothing more until it is settled. */
  readonly isSuspect: boolean
}

export type Asked = {
  readonly max: number
  readonly lease: Duration | null
  readonly consumer: string
  /** How many messages start at once; 1 in `dequeue`. */
  readonly handlers: number
}

/** Levels are strict, smaller first; within a level by readyAt, then id. `nextReadyAt`: when there may be something again. */
export function poll(
  world: World,
  name: string,
  asked: Asked,
): { readonly claims: readonly Claim[]; readonly nextReadyAt: Instant | null } {
  const queue = known(world, name)
  if (asked.max < 1) throw new Refused('DQ002')
  checkLease(asked.lease)
  const claims: Claim[] = []
  if (queue.pausedAt !== null) return { claims, nextReadyAt: null }
  let next = Number.POSITIVE_INFINITY
  for (const level of queue.levels) {
    const candidates = lockReady(world, queue, level, asked.max - claims.length)
    const hasLapsed = candidates.some(({ leasedBy, lapses }) => leasedBy !== null || lapses > 0)
    const free = asked.handlers - claims.length
    const taken = !hasLapsed ? candidates : free > 0 ? claimable(world, queue, candidates, free, claims.length) : []
    for (const message of taken) claims.push(claim(world, queue, message, asked))
    // Full, or stopped at a message that has lapsed before: there may be more right now.
    if (claims.length === asked.max || hasLapsed) return { claims, nextReadyAt: world.now }
    next = Math.min(next, nextOf(world, queue, level, asked.lease))
  }
  return { claims, nextReadyAt: Number.isFinite(next) ? next : null }
}

function claim(world: World, queue: Queue, message: Message, { lease, consumer }: Asked): Claim {
  const lapsed = message.leasedBy === null ? 0 : 1
  const claimed: Message = {
    ...message,
    attempt: message.attempt + 1,
    failures: message.failures + lapsed,
    lapses: message.lapses + lapsed,
    lastError: lapsed ? lapseOf(message) : message.lastError,
    readySince: message.readyAt,
    readyAt: world.now + (lease ?? queue.lease),
    leasedBy: consumer,
  }
  world.messages.put(claimed)
  return { message: claimed, lateness: world.now - claimed.dueAt, isSuspect: isSuspect(claimed.lapses, queue) }
}

/**
 * Of candidates with one that has lapsed before, those that may be claimed together. The lapsed one may have killed its
 * consumer, and the next would take along what was claimed with it: so no more than `free` handlers, all of which start at
 * once. From half of the budget on it is claimed alone, without those of levels in front of its own (`claimed`) either. One
 * whose budget the lapse has used up is dead.
 */
function claimable(
  world: World,
  queue: Queue,
  candidates: readonly Message[],
  free: number,
  claimed: number,
): readonly Message[] {
  const taken: Message[] = []
  let limit = candidates.length
  for (const message of candidates) {
    const lapsed = message.leasedBy === null ? 0 : 1
    const lapses = message.lapses + lapsed
    const failures = message.failures + lapsed
    if (lapsed && failures >= queue.maxAttempts) {
      die(world, message, { reason: 'lapsed', failures, lapses, lastError: lapseOf(message) })
      continue
    }
    if (isSuspect(lapses, queue)) {
      if (claimed + taken.length > 0) break
      limit = 1
    } else if (lapses > 0) limit = Math.min(limit, free)
    if (taken.length >= limit) break
    taken.push(message)
  }
  return taken
}

const isSuspect = (lapses: number, { maxAttempts }: Queue) => lapses > 0 && lapses * 2 >= maxAttempts
const lapseOf = ({ attempt, leasedBy }: Message) => `the lease of attempt ${attempt}, held by ${leasedBy}, lapsed`

/** The first `count` ready or lapsed messages of the level, without those that another session holds. */
function lockReady(world: World, queue: Queue, level: number, count: number): readonly Message[] {
  const locked: Message[] = []
  for (const message of inOrder(world, queue, level)) {
    if (locked.length === count || message.readyAt > world.now) break
    if (world.messages.tryLock(message)) locked.push(message)
  }
  return locked
}

/** What is ready but held by another session is looked for again when a lease like ours would end, or at the next poll. */
function nextOf(world: World, queue: Queue, level: number, lease: Duration | null): Instant {
  const readyAts = inOrder(world, queue, level).map(({ readyAt }) => readyAt)
  const ahead = readyAts.find((readyAt) => readyAt > world.now) ?? Number.POSITIVE_INFINITY
  return readyAts.length > 0 && readyAts[0]! <= world.now
    ? Math.min(world.now + Math.min(lease ?? queue.lease, queue.pollInterval), ahead)
    : ahead
}

function inOrder(world: World, queue: Queue, level: number): readonly Message[] {
  return world.messages
    .all()
    .filter((message) => message.queue === queue.name && message.priority === level)
    .sort((a, b) => a.readyAt - b.readyAt || a.id - b.id)
}

// --- many leases in one statement ---

export type Lease = { readonly id: number; readonly attempt: number }
export type NotHeld = Lease & { readonly outcome: 'lost' | 'busy' }

export function ackMany(world: World, leases: readonly Lease[]): readonly NotHeld[] {
  const { held, others } = split(world, leases)
  for (const message of held) world.messages.remove(message)
  return others
}

export function extendMany(world: World, leases: readonly Lease[], lease: Duration): readonly NotHeld[] {
  checkLease(lease)
  const { held, others } = split(world, leases)
  for (const message of held) {
    world.messages.put({ ...message, readyAt: Math.max(message.readyAt, world.now + lease) })
  }
  return others
}

/** What each nack would answer one by one, but `busy` instead of waiting; null errors and delays: none is given. */
export function nackMany(
  world: World,
  leases: readonly Lease[],
  errors: readonly (string | null)[] | null,
  delays: readonly (Duration | null)[] | null,
): readonly (Lease & { readonly outcome: 'retry' | 'dead' | NotHeld['outcome'] })[] {
  return oneByOne(world, leases, delays, (id, attempt, delay, position) => {
    return nack(world, id, attempt, errors?.[position] ?? null, delay)
  })
}

/** Gives those that were not released. */
export function releaseMany(
  world: World,
  leases: readonly Lease[],
  delays: readonly (Duration | null)[] | null,
): readonly NotHeld[] {
  const all = oneByOne(world, leases, delays, (id, attempt, delay) => {
    return release(world, id, attempt, delay) ? ('released' as const) : null
  })
  return all.flatMap(({ outcome, ...lease }) => (outcome === 'released' ? [] : [{ ...lease, outcome }]))
}

function oneByOne<Outcome>(
  world: World,
  leases: readonly Lease[],
  delays: readonly (Duration | null)[] | null,
  verb: (id: number, attempt: number, delay: Duration | null, position: number) => Outcome | null,
): readonly (Lease & { readonly outcome: Outcome | NotHeld['outcome'] })[] {
  for (const delay of delays ?? []) dueAtOf(world, delay, null)
  return leases.map(({ id, attempt }, position) => {
    // Unlike ack_many it does not lock what another attempt holds.
    if (world.messages.get(id)?.attempt !== attempt) return { id, attempt, outcome: 'lost' }
    const { held, others } = split(world, [{ id, attempt }])
    const outcome = held.length > 0 ? verb(id, attempt, delays?.[position] ?? null, position) : others[0]!.outcome
    return { id, attempt, outcome: outcome ?? 'lost' }
  })
}

/** `busy`: the lease is there, but another session holds the row. */
function split(
  world: World,
  leases: readonly Lease[],
): { readonly held: readonly Message[]; readonly others: readonly NotHeld[] } {
  const held = new Map<number, Message>()
  const others: NotHeld[] = []
  for (const { id, attempt } of leases) {
    const message = world.messages.get(id)
    const isLeased = message !== undefined && message.leasedBy !== null
    const isFree = isLeased && world.messages.tryLock(message)
    if (!isLeased || message.attempt !== attempt) others.push({ id, attempt, outcome: 'lost' })
    else if (isFree) held.set(id, message)
    else others.push({ id, attempt, outcome: 'busy' })
  }
  return { held: [...held.values()], others }
}
