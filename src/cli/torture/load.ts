/**
 * What the load is made of: what a message tells its consumer to do with it, and in what ways producers enqueue.
 */
import type { Random } from './random.js'

/** The payload of every message of a run. */
export type Load = {
  /** Its producer's own name for it, once over the run. */
  readonly ref: string
  readonly act: Act
  /** How long the handler takes, in ms. */
  readonly workMs: number
}

/**
 * What a consumer does with a first attempt; later ones are acked, so that the queue comes to an end.
 *
 *   return       returns, which acks                  acks         acks by itself
 *   nack, throw  fails, told and by an error          release      gives it back
 *   extend       extends the lease, works, acks       deadLetter   to the dead letters
 *   transaction  acks in a transaction of its own     rollback     the same, rolled back, then throws
 *   block        blocks its process beyond the lease  crash        kill -9 by itself, in the middle of the work
 */
export type Act = keyof typeof actWeights

const actWeights = {
  return: 50,
  acks: 22,
  nack: 5,
  throw: 5,
  release: 4,
  extend: 5,
  deadLetter: 2,
  transaction: 4,
  rollback: 2,
  block: 0.004,
  crash: 0.01,
}

/** In what way some messages are enqueued. */
export type Way = keyof typeof wayWeights

const wayWeights = {
  /** `enqueue`, several at once. */
  single: 10,
  /** `enqueueMany` of an array. */
  many: 6,
  /** With a dedup key, which is used again where the outcome is unknown, and sometimes where it is known. */
  dedup: 2,
  /** In a transaction of the caller, a third of which roll back. */
  transaction: 1.5,
}

export type DrawnWay = { readonly way: Way; readonly count: number; readonly isRolledBack: boolean }

export function drawWay(random: Random): DrawnWay {
  const way = random.weighted(wayWeights)
  const most = { single: 4, many: 40, dedup: 1, transaction: 3 }[way]
  return { way, count: random.between(1, most), isRolledBack: way === 'transaction' && random.next() < 0.33 }
}

export type DrawnMessage = {
  readonly payload: Load
  /** 0: due at once. */
  readonly delayMs: number
  readonly priority: number
}

export function drawMessage(random: Random, ref: string): DrawnMessage {
  const kind = random.next()
  return {
    payload: { ref, act: random.weighted(actWeights), workMs: random.between(0, 12) },
    delayMs: kind < 0.5 ? 0 : kind < 0.9 ? random.between(1, 500) : random.between(500, 3000),
    priority: random.next() < 0.8 ? 0 : random.pick([-10, 10, 50]),
  }
}
