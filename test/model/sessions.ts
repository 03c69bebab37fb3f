/**
 * Sessions of the model: the committed rows, what each open transaction has changed, and which rows it has locked.
 *
 *     a session sees      the committed rows (in REPEATABLE READ: those of its snapshot), its own changes laid over them
 *     a commit            lays the changes over the committed rows, and frees the locks
 *     a rollback          forgets the changes, and frees the locks
 *     a refused verb      likewise, of its own changes and locks only
 *
 * A row that a session has changed or locked is the session's until its transaction ends. So two sessions never change the
 * same row, and laying changes over each other needs no merging.
 */
import { type DeadLetter, type Instant, type Message, type Queue, Refused, type Table, type World } from './model.js'

export type Isolation = 'read committed' | 'repeatable read'
type Key = number | string
type Rows<Row> = ReadonlyMap<Key, Row>
type Snapshot = {
  readonly now: Instant
  readonly queues: Rows<Queue>
  readonly messages: Rows<Message>
  readonly deadLetters: Rows<DeadLetter>
}

/** What one open transaction has done to one table. */
class Overlay<Row> {
  /** Null: the row is deleted. */
  readonly changes: Map<Key, Row | null>
  readonly locks: Set<Key>
  /** Every version ever written, those deleted again included: others wait for the keys of all of them. */
  readonly written: Row[]
  constructor(from?: Overlay<Row>) {
    this.changes = new Map(from?.changes)
    this.locks = new Set(from?.locks)
    this.written = [...(from?.written ?? [])]
  }
}

class Transaction {
  readonly isolation: Isolation
  readonly snapshot: Snapshot | undefined
  queues = new Overlay<Queue>()
  messages = new Overlay<Message>()
  deadLetters = new Overlay<DeadLetter>()
  constructor(isolation: Isolation, committed: Snapshot) {
    this.isolation = isolation
    this.snapshot = isolation === 'repeatable read' ? committed : undefined
  }
}

const tables = ['queues', 'messages', 'deadLetters'] as const
type Draw = World['draw']
type IsFull = World['isFull']

export class Database {
  committed: Snapshot = { now: 0, queues: new Map(), messages: new Map(), deadLetters: new Map() }
  readonly #transactions = new Map<number, Transaction>()
  #lastId = 0

  travel(by: Instant): void {
    this.committed = { ...this.committed, now: this.committed.now + by }
  }

  isOpen(session: number): boolean {
    return this.#transactions.has(session)
  }

  get openCount(): number {
    return this.#transactions.size
  }

  begin(session: number, isolation: Isolation): void {
    this.#transactions.set(session, new Transaction(isolation, this.committed))
  }

  commit(session: number): void {
    const transaction = this.#transactions.get(session)!
    this.#transactions.delete(session)
    const { queues, messages, deadLetters } = transaction
    this.committed = {
      now: this.committed.now,
      queues: laidOver(this.committed.queues, queues),
      messages: laidOver(this.committed.messages, messages),
      deadLetters: laidOver(this.committed.deadLetters, deadLetters),
    }
  }

  rollback(session: number): void {
    this.#transactions.delete(session)
  }

  /** Runs one statement in the session's transaction, or in one of its own. A refused one leaves nothing behind. */
  run<T>(
    session: number,
    verb: (world: World) => T,
    draw: Draw = nothingToDraw,
    isFull: IsFull = neverFull,
  ): T | Refused {
    if (!this.isOpen(session)) {
      this.begin(session, 'read committed')
      const result = this.run(session, verb, draw, isFull)
      this.commit(session)
      return result
    }
    const transaction = this.#transactions.get(session)!
    const { queues, messages, deadLetters } = transaction
    transaction.queues = new Overlay(queues)
    transaction.messages = new Overlay(messages)
    transaction.deadLetters = new Overlay(deadLetters)
    try {
      return verb(this.#world(session, transaction, draw, isFull))
    } catch (error) {
      if (!(error instanceof Refused)) throw error
      Object.assign(transaction, { queues, messages, deadLetters })
      return error
    }
  }

  #world(session: number, transaction: Transaction, draw: Draw, isFull: IsFull): World {
    const others = [...this.#transactions].flatMap(([other, open]) => (other === session ? [] : [open]))
    const view = transaction.snapshot ?? this.committed
    const table = <Row>(name: (typeof tables)[number], keyOf: (row: Row) => Key) =>
      tableOf(
        keyOf,
        this.committed[name] as unknown as Rows<Row>,
        view[name] as unknown as Rows<Row>,
        transaction[name] as unknown as Overlay<Row>,
        others.map((other) => other[name] as unknown as Overlay<Row>),
      )
    return {
      now: view.now,
      queues: table<Queue>('queues', ({ name }) => name),
      messages: table<Message>('messages', ({ id }) => id),
      deadLetters: table<DeadLetter>('deadLetters', ({ id }) => id),
      nextId: () => ++this.#lastId,
      draw,
      isFull,
    }
  }
}

/** One table of one session: `seen` is what it sees, `committed` what is there by now. */
function tableOf<Row>(
  keyOf: (row: Row) => Key,
  committed: Rows<Row>,
  seen: Rows<Row>,
  own: Overlay<Row>,
  others: readonly Overlay<Row>[],
): Table<Row> {
  const visible = () => laidOver(seen, own)
  /** In REPEATABLE READ: the row is not the one of the snapshot any more. */
  const failOnStale = (key: Key) => {
    if (!own.changes.has(key) && committed.get(key) !== seen.get(key)) throw new Refused('40001')
  }
  const tryLock = (row: Row) => {
    failOnStale(keyOf(row))
    if (others.some(({ locks }) => locks.has(keyOf(row)))) return false
    own.locks.add(keyOf(row))
    return true
  }
  return {
    get: (key) => visible().get(key),
    all: () => [...visible()].sort(([a], [b]) => (a < b ? -1 : 1)).map(([, row]) => row),
    tryLock,
    lock(row) {
      if (!tryLock(row)) throw new Refused('55P03')
    },
    // A unique index knows no snapshots: it sees what is committed by now, and what others are about to do.
    collision(isSame) {
      const found = [...laidOver(committed, own)].find(([, row]) => isSame(row))
      if (others.some(({ changes, written }) => (found && changes.has(found[0])) || written.some(isSame)))
        throw new Refused('55P03')
      if (found) failOnStale(found[0])
      return found?.[1]
    },
    put(row) {
      own.written.push(row)
      own.locks.add(keyOf(row))
      own.changes.set(keyOf(row), row)
    },
    remove(row) {
      own.locks.add(keyOf(row))
      own.changes.set(keyOf(row), null)
    },
  }
}

function laidOver<Row>(rows: Rows<Row>, { changes }: Overlay<Row>): Rows<Row> {
  const result = new Map(rows)
  for (const [key, row] of changes) {
    if (row === null) result.delete(key)
    else result.set(key, row)
  }
  return result
}

function nothingToDraw(): never {
  throw new Error('Nothing random was expected of this verb')
}

function neverFull(): boolean {
  return false
}
