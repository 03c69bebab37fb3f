/**
 * The engine as another language calls it: SQL text and parameters over one session, no library in between.
 *
 * Statements are written with the schema's default name, `dueq.`, which is exchanged for the schema of the test. The clock
 * stands still and moves only by `travel`, so that instants can be compared exactly.
 */
import type { QueryResultRow } from 'pg'
import { freshSchema } from '../support/database.js'
import { openSession, type Session } from '../support/sessions.js'

type Rows = <Row extends QueryResultRow = QueryResultRow>(text: string, params?: readonly unknown[]) => Promise<Row[]>

export type EngineSession = Omit<Session, 'query'> & {
  readonly rows: Rows
  /** The first column of the first row. */
  value<T = string>(text: string, params?: readonly unknown[]): Promise<T>
  /** The SQLSTATE that the statement fails with; 'none' where it does not fail. */
  sqlstate(text: string, params?: readonly unknown[]): Promise<string>
}

export type Engine = EngineSession & {
  readonly schema: string
  /** Creates a queue with a name of its own; `settings` are further arguments, such as `lease => '1 minute'`. */
  queue(settings?: string): Promise<string>
  /** Enqueues a message, due now unless `args` say otherwise, and returns its id. */
  enqueue(queue: string, args?: string): Promise<string>
  /** Dequeues up to `max` messages. */
  dequeue(queue: string, max?: number): Promise<readonly Claim[]>
  /** Moves the clock of all sessions. */
  travel(interval: string): Promise<void>
  /** Lets the clock run. */
  unfreeze(): Promise<void>
  /** One more session, for races. */
  session(): Promise<EngineSession>
}

export type Claim = { readonly id: string; readonly attempt: number }

export async function startEngine(): Promise<Engine> {
  const test = await freshSchema()
  await test.freeze()
  const sessions: Session[] = []
  const session = async () => {
    const opened = await openSession()
    sessions.push(opened)
    return speaking(opened, test.schema)
  }
  const first = await session()
  const close = async () => {
    await Promise.all(sessions.map((opened) => opened.close()))
    await test.close()
  }
  let queueCount = 0
  return {
    ...first,
    schema: test.schema,
    async queue(settings = '') {
      const name = `q${++queueCount}`
      await first.rows(`select dueq.create_queue('${name}'${settings && `, ${settings}`})`)
      return name
    },
    enqueue: (queue, args = '') =>
      first.value(`select id from dueq.enqueue($1, '{"to": 7}'${args && `, ${args}`})`, [queue]),
    dequeue: (queue, max = 1) => first.rows<Claim>('select id, attempt from dueq.dequeue($1, $2)', [queue, max]),
    travel: test.travel,
    unfreeze: test.unfreeze,
    session,
    close,
    [Symbol.asyncDispose]: close,
  }
}

/** The SQLSTATE of a statement that fails; 'none' where it does not. */
export async function sqlstateOf(statement: Promise<unknown>): Promise<string> {
  try {
    await statement
    return 'none'
  } catch (error) {
    return String((error as { readonly code?: unknown }).code)
  }
}

function speaking(session: Session, schema: string): EngineSession {
  const { query, ...rest } = session
  const rows: Rows = (text, params) => query(text.replaceAll('dueq.', `${schema}.`), params)
  return {
    ...rest,
    rows,
    async value<T = string>(text: string, params?: readonly unknown[]) {
      const [row] = await rows(text, params)
      return Object.values(row ?? {})[0] as T
    },
    sqlstate: (text, params) => sqlstateOf(rows(text, params)),
  }
}
