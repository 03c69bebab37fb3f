/** Queues and what operators do, of the model: settings, pause, cancel, reschedule, redrive, purge. */
import {
  byDedupKey,
  checkLease,
  type DeadLetter,
  type Duration,
  dueAtOf,
  type Instant,
  insert,
  known,
  type Message,
  Refused,
  type Settings,
  second,
  type World,
} from './model.js'

/** Creates the queue, or changes the settings that are given; what is left out keeps its value. */
export function createQueue(world: World, name: string, given: Partial<Settings>): 'created' | 'changed' | 'unchanged' {
  checkLease(given.lease ?? null)
  const { backoffBase = Math.min(second, given.backoffMax ?? second) } = given
  const { backoffMax = Math.max(900 * second, backoffBase) } = given
  const fresh = {
    lease: 30 * second,
    maxAttempts: 20,
    pollInterval: 5 * second,
    maxDepth: null,
    ...given,
    backoffBase,
    backoffMax,
  }
  checkBackoff(fresh)
  const stored = world.queues.collision((queue) => queue.name === name)
  const wanted = stored ? { ...stored, ...given } : { name, levels: [0], pausedAt: null, ...fresh }
  checkBackoff(wanted)
  if (stored && Object.entries(given).every(([setting, value]) => stored[setting as keyof Settings] === value))
    return 'unchanged'
  if (stored) world.queues.lock(stored)
  world.queues.put(wanted)
  return stored ? 'changed' : 'created'
}

function checkBackoff({ backoffBase, backoffMax }: Settings): void {
  if (backoffMax < backoffBase) throw new Refused('DQ002')
}

/** Only an empty queue can be dropped. */
export function dropQueue(world: World, name: string): void {
  const queue = known(world, name)
  if ([...world.messages.all(), ...world.deadLetters.all()].some((letter) => letter.queue === name)) {
    throw new Refused('DQ006')
  }
  world.queues.remove(queue)
}

/** A paused queue hands out nothing; enqueue, settle and extend go on, delays and leases run on. */
export function pauseQueue(world: World, name: string): boolean {
  return setPausedAt(world, name, world.now)
}

export function resumeQueue(world: World, name: string): boolean {
  return setPausedAt(world, name, null)
}

function setPausedAt(world: World, name: string, pausedAt: Instant | null): boolean {
  const queue = known(world, name)
  if ((queue.pausedAt === null) === (pausedAt === null)) return false
  world.queues.lock(queue)
  world.queues.put({ ...queue, pausedAt })
  return true
}

/** The earliest readyAt, in the past where something is ready; null where the queue is empty or paused. */
export function nextReadyAt(world: World, name: string): Instant | null {
  const queue = known(world, name)
  const readyAts = world.messages.all().flatMap((message) => (message.queue === name ? [message.readyAt] : []))
  return queue.pausedAt !== null || readyAts.length === 0 ? null : Math.min(...readyAts)
}

/** Nobody is working on it: delayed, ready or lapsed. */
const isIdle = ({ now }: World, { leasedBy, readyAt }: Message) => leasedBy === null || readyAt <= now

export function cancel(world: World, id: number): 'cancelled' | 'leased' | null {
  const message = world.messages.get(id)
  if (!message) return null
  if (!isIdle(world, message)) return 'leased'
  world.messages.lock(message)
  world.messages.remove(message)
  return 'cancelled'
}

/** A lapse that this ends is counted, but never the death of the message: it was just asked for again. */
export function reschedule(
  world: World,
  id: number,
  delay: Duration | null,
  at: Instant | null,
): 'rescheduled' | 'leased' | null {
  const dueAt = dueAtOf(world, delay, at)
  const message = world.messages.get(id)
  if (!message) return null
  if (!isIdle(world, message)) return 'leased'
  world.messages.lock(message)
  const lapsed = message.leasedBy === null ? 0 : 1
  const failures = message.failures + lapsed
  const lapses = message.lapses + lapsed
  world.messages.put({ ...message, dueAt, readyAt: dueAt, failures, lapses, leasedBy: null, readySince: null })
  return 'rescheduled'
}

/** Those that no other session holds. */
export function purge(world: World, name: string, includeLeased: boolean): number {
  known(world, name)
  const purged = world.messages
    .all()
    .filter((message) => message.queue === name && (includeLeased || isIdle(world, message)))
    .filter((message) => world.messages.tryLock(message))
  for (const message of purged) world.messages.remove(message)
  return purged.length
}

export function purgeDead(world: World, name: string, ids: readonly number[] | null, max: number): number {
  known(world, name)
  const purged = lockDead(world, (letter) => letter.queue === name && (ids?.includes(letter.id) ?? true), max)
  for (const letter of purged) world.deadLetters.remove(letter)
  return purged.length
}

/**
 * Dead letters become messages again: new ids, due now, a fresh budget. One whose dedup key a live message has stays; where
 * none are named, it is not even counted.
 */
export function redrive(
  world: World,
  name: string,
  ids: readonly number[] | null,
  max: number,
): readonly { readonly deadId: number; readonly id: number }[] {
  known(world, name)
  const isTaken = (key: string) =>
    world.messages.all().some((message) => message.queue === name && message.dedupKey === key)
  const isWanted = ({ id, queue, dedupKey }: DeadLetter) =>
    queue === name && (ids ? ids.includes(id) : dedupKey === null || !isTaken(dedupKey))
  // As with enqueue_many: the ids in the old order, the inserts in that of the dedup keys.
  const letters = lockDead(world, isWanted, max).map((letter) => ({ ...letter, newId: world.nextId() }))
  return letters.sort(byDedupKey).flatMap(({ newId, ...letter }) => {
    const { id, created } = insert(world, newId, name, world.now, letter)
    if (!created) return []
    world.deadLetters.remove(letter)
    return [{ deadId: letter.id, id }]
  })
}

/** Oldest first, without those that another session holds. */
function lockDead(world: World, isWanted: (letter: DeadLetter) => boolean, max: number): readonly DeadLetter[] {
  const locked: DeadLetter[] = []
  for (const letter of world.deadLetters.all()) {
    if (locked.length < max && isWanted(letter) && world.deadLetters.tryLock(letter)) locked.push(letter)
  }
  return locked
}
