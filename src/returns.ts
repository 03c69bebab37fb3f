// Messages that go back to the queue, in batches: nacks and releases of a process that are called while a statement is in
// flight ride in the next one. (Of 200 nacks each takes 25 µs of the server in a batch and 220 alone.)
//
//   called -- in a batch --> answered
//      |-- busy: another transaction holds the row --> in a later batch, until the lease ends
//      `-- the whole batch was refused --> alone, so that what is wrong with one is no harm to its neighbours
//
// Invariant: nobody waits for a row lock that a stranger holds. That is why a lone call is a batch as well: the plain nack
// waits up to a second, with a connection of the pool and with all that is called meanwhile. The batch of one costs the
// server a quarter more, which a message that failed or is given back can afford.
import { coalesce } from './coalesce.js'
import { fromDatabase } from './database-errors.js'
import type { Query } from './driver.js'
import { DueqError } from './errors.js'
import type { Held } from './lease.js'
import type { Statements } from './statements.js'
import { type Nacking, type Outcome, outcomeLookup, type Returning } from './statements-settle.js'

/** Nacks and releases of a process, outside transactions of its callers. */
export type Returns = {
  /** Null where the lease is lost. */
  nack(held: Held, error: string | null, delayMs: number | undefined): Promise<'retry' | 'dead' | null>
  /** False where the lease is lost. */
  release(held: Held, delayMs: number | undefined): Promise<boolean>
}

/** Bounds what one statement locks and how long it runs: 12 ms of the server. */
const maxBatch = 500

/** Makes the batches of a process. */
export function createReturns(query: Query, statements: Statements): Returns {
  const nack = batched<Nacking, 'retry' | 'dead'>((items) => statements.nackMany(query, items))
  const release = batched<Returning, 'released'>((items) => statements.releaseMany(query, items), 'released')

  return {
    async nack(held, error, delayMs) {
      const { id, attempt } = held
      const said = await untilFree(held, 'nacked', () => nack({ id, attempt, error, delayMs }))
      return said === 'lost' ? null : said
    },
    async release(held, delayMs) {
      const { id, attempt } = held
      return (await untilFree(held, 'released', () => release({ id, attempt, delayMs }))) === 'released'
    },
  }
}

/**
 * Sends again what was busy, after a pause that grows to half a second, until the lease ends; then raises `lock.timeout`.
 * Never by a statement that waits: a pool of one connection would stand still with it.
 */
export async function untilFree<Said>(held: Held, done: string, send: () => Promise<Said | 'busy'>): Promise<Said> {
  for (let waitMs = 10; ; waitMs = Math.min(waitMs * 2, 500)) {
    const said = await send()
    if (said !== 'busy') return said
    if (performance.now() + waitMs >= held.trustedUntil)
      throw new DueqError(
        'lock.timeout',
        `Message ${held.id} was not ${done}: another transaction has held its row until the end of the lease. Look for it with \`dueq doctor\`.`,
      )
    await new Promise((resolve) => setTimeout(resolve, waitMs))
  }
}

// --- internal ---

/** Makes a verb for one message of a statement for many; `unsaid` is what became of those that the statement does not name. */
function batched<Item extends Returning, Said>(
  send: (items: readonly Item[]) => Promise<readonly Outcome<Said>[]>,
  unsaid?: Said,
): (item: Item) => Promise<Outcome<Said>['outcome']> {
  type Answer = () => Outcome<Said>['outcome']
  const ask = async (items: readonly Item[]): Promise<readonly Answer[]> => {
    const outcomeOf = outcomeLookup(await send(items))
    return items.map((item) => () => outcomeOf(item) ?? unsaid ?? raise(unnamedError(item)))
  }
  const askAlone = (item: Item): Promise<Answer> =>
    ask([item]).then(
      ([answer]) => answer!,
      (error) => () => raise(error),
    )
  const one = coalesce<Item, Answer>(async (items) => {
    try {
      return await ask(items)
    } catch (cause) {
      if (items.length === 1 || !isAboutItems(cause)) throw cause
      const answers: Answer[] = []
      for (const item of items) answers.push(await askAlone(item))
      return answers
    }
  }, maxBatch)
  return async (item) => (await one(item))()
}

/** The database has refused what it was given, and nothing has changed; it may take the others. */
function isAboutItems(cause: unknown): boolean {
  const { code, isOutcomeUnknown } = fromDatabase(cause)
  return !isOutcomeUnknown && /^(database\.error|option\.invalid|payload\.not_json)$/.test(code)
}

function unnamedError({ id }: Returning): DueqError {
  return new DueqError('connection.invalid', `The connection gave no row for message ${id}: it must give all rows.`)
}

function raise(error: unknown): never {
  throw error
}
