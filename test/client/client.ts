/**
 * A connected client on a schema of its own, as most tests of the client want it.
 *
 * Queues get names of their own, so that tests of one file do not meet; events are kept, so that a test can wait for one
 * instead of sleeping. How the client connects is the variant's choice (`connection.ts`), and a test that says no poll
 * interval gets a short one where no notification can wake it.
 */
import { inject } from 'vitest'
import { type ConnectOptions, type Dueq, type DueqEvent, defineQueue, type QueueSettings } from '../../src/index.js'
import type { QueueHandle } from '../../src/queue.js'
import { freshSchema, type TestSchema } from '../support/database.js'
import { variant } from '../support/variant.js'
import { connectByUrl, connectVariant, processEnv } from './connection.js'

export { itListens } from './connection.js'

export type TestClient = TestSchema & {
  readonly dueq: Dueq
  /** Where dueq sends its statements: the pooler of the run, else `url`, which always is the server itself. */
  readonly dueqUrl: string
  /** The environment for a process under test that connects as this client does. */
  readonly env: Readonly<Record<string, string>>
  readonly events: readonly DueqEvent[]
  /** Resolves with the first event of the type, earlier ones included; fails after 20 s. */
  event<T extends DueqEvent['type']>(type: T): Promise<Extract<DueqEvent, { type: T }>>
  /** One more client on the schema, closed with the others. */
  another(options?: ConnectOptions): Dueq
  /** The same, always over connections that dueq opens itself, for tests about those. */
  anotherByUrl(options?: ConnectOptions): Dueq
  /** Creates a queue with a name of its own. */
  queue<Payload = unknown>(settings?: QueueSettings): Promise<QueueHandle<Payload, Payload>>
  /** How many messages are stored, dead letters included. */
  messageCount(): Promise<number>
}

export async function startClient(options: ConnectOptions = {}): Promise<TestClient> {
  const test = await freshSchema()
  const events: DueqEvent[] = []
  const waiting = new Set<() => void>()
  const clients: Dueq[] = []
  const tooManyWarnings: DueqEvent[] = []
  const opening =
    (connect: (options: ConnectOptions) => Dueq) =>
    (more: ConnectOptions = {}): Dueq => {
      const given: ConnectOptions = { schema: test.schema, onEvent: () => {}, ...more }
      let silentCount = 0
      const onEvent: ConnectOptions['onEvent'] = (event) => {
        if (event.type === 'listen.silent' && ++silentCount > 1) tooManyWarnings.push(event)
        return given.onEvent?.(event)
      }
      const dueq = connect({ ...given, onEvent: given.onEvent && onEvent })
      clients.push(dueq)
      return dueq
    }
  const another = opening(connectVariant)
  const dueq = another({
    ...options,
    onEvent(event) {
      events.push(event)
      for (const look of [...waiting]) look()
    },
  })
  const close = async (): Promise<void> => {
    await Promise.all(clients.map((client) => client.close({ deadline: '2s' })))
    await test.close()
    // Whatever else a test is about: that LISTEN is silent is said once, and not once for every consumer or retry.
    if (tooManyWarnings.length > 0) throw new Error('A client warned more than once that LISTEN is silent')
  }
  let queueCount = 0
  return {
    ...test,
    dueq,
    dueqUrl: inject('dueqUrl'),
    env: processEnv(test.schema),
    events,
    event: <T extends DueqEvent['type']>(type: T) =>
      new Promise<Extract<DueqEvent, { type: T }>>((resolve, reject) => {
        const look = (): void => {
          const found = events.find((event) => event.type === type)
          if (!found) return
          clearTimeout(timer)
          waiting.delete(look)
          resolve(found as Extract<DueqEvent, { type: T }>)
        }
        const timer = setTimeout(() => reject(new Error(`No event ${type} within 20 s`)), 20_000)
        waiting.add(look)
        look()
      }),
    another,
    anotherByUrl: opening(connectByUrl),
    async queue<Payload>(settings: QueueSettings = {}) {
      const poll: QueueSettings = variant.isSilent ? { pollInterval: '100ms' } : {}
      const queue = defineQueue<Payload>(`q${++queueCount}`, { ...poll, ...settings })
      await dueq.ensure([queue])
      return dueq.queue(queue)
    },
    async messageCount() {
      const name = test.sql(test.schema)
      const [row] = await test.sql`
        select (select count(*) from ${name}.messages)::int + (select count(*) from ${name}.dead_letters)::int as count`
      return row!['count'] as number
    },
    close,
    [Symbol.asyncDispose]: close,
  }
}

/** The code of the error that the promise rejects with; 'none' where it resolves. */
export async function codeOf(promise: Promise<unknown>): Promise<string> {
  try {
    await promise
    return 'none'
  } catch (error) {
    return String((error as { readonly code?: unknown }).code)
  }
}

/** The code of the error that the function throws; 'none' where it does not. */
export function codeThrown(run: () => unknown): string {
  try {
    run()
    return 'none'
  } catch (error) {
    return String((error as { readonly code?: unknown }).code)
  }
}
