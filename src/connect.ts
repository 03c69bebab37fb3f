// The front door: `connect` makes a dueq of a connection. No I/O happens before the first use; what it opens it closes, and
// nothing else: a pool that was passed in is left running.

import { randomBytes } from 'node:crypto'
import { hostname } from 'node:os'
import { createAcks } from './acks.js'
import { type Client, checkStop, type StopOptions, type StopReport } from './client.js'
import { type ConnectOptions, givenOptions, sourceOf } from './connect-options.js'
import { checkDefinition, checkDefinitions, defineQueue, type Queue, type QueueDefinition } from './definition.js'
import { examine } from './doctor.js'
import { type Connection, isPostgresJs, type Query, transactionQuery } from './driver.js'
import { createSender, plainEnqueuer } from './enqueuer.js'
import { coalesceEnqueues } from './enqueues.js'
import { DueqError } from './errors.js'
import { createEmitter } from './events.js'
import { createLeases } from './lease.js'
import { listenSource } from './listen-source.js'
import { type Duration, durationMs, type Instant, instantText, knownOptions, messageId, schemaName } from './options.js'
import { createPending } from './pending.js'
import { openPool } from './pool.js'
import { createHandle, createProducer, ensureQueue, type Producer, type QueueHandle } from './queue.js'
import { createReturns } from './returns.js'
import { namingRoles } from './role-missing.js'
import { createRoom } from './room.js'
import { checkingSchema } from './schema.js'
import { statements as statementsOf } from './statements.js'
import type { Check } from './statements-doctor.js'
import type { QueueStats } from './statements-operate.js'
import { throttleWakes } from './throttle.js'
import { createWakeups } from './wakeup.js'
import { createWatches } from './watch.js'

/** A connected dueq. */
export type Dueq = AsyncDisposable & {
  /**
   * Creates the queues, or changes their stored settings to the declared ones. Where nothing is to be done, a role that may not
   * do it needs no right but to look.
   */
  ensure(queues: readonly QueueDefinition[]): Promise<void>
  /** A handle on a queue, by its contract or its name. Writes nothing. */
  queue<In, Out>(queue: Queue<In, Out>): QueueHandle<In, Out>
  queue<Payload = unknown>(name: string): QueueHandle<Payload, Payload>
  /** The same, inside a transaction of yours: postgres.js, `pg`, or any `(text, params) => rows`. */
  in(transaction: Connection): DueqInTransaction
  /** Removes a message nobody is working on. Errors: `message.leased`, `message.not_found`. */
  cancel(id: string): Promise<void>
  /** Gives a message nobody is working on another due time. Errors: `message.leased`, `message.not_found`. */
  reschedule(id: string, when: { readonly delay: Duration } | { readonly at: Instant }): Promise<void>
  /** The numbers of all queues. */
  stats(): Promise<QueueStats[]>
  /**
   * What makes queues slow, late or unsafe, seen from this host and inside the database, and what to do about it; also on
   * a schema that is too old or too new for this client. Takes up to 10 s where notifications do not arrive.
   * Errors: `schema.missing`, `database.*`: then there is nothing to report on.
   */
  doctor(): Promise<Check[]>
  /** For health probes: asks the database and the schema. Rejects where dueq cannot work. */
  check(): Promise<{ readonly schemaVersion: number; readonly isListening: boolean; readonly roundTripMs: number }>
  /** Stops consumers and waits for them, ends the connections that dueq opened. */
  close(options?: StopOptions): Promise<StopReport>
}

/** The verbs that make sense inside a caller's transaction. */
export type DueqInTransaction = Pick<Dueq, 'cancel' | 'reschedule'> & {
  queue<In, Out>(queue: Queue<In, Out>): Producer<In>
  queue<Payload = unknown>(name: string): Producer<Payload>
}

/**
 * Makes a dueq of a URL, a postgres.js instance, a `pg` pool, or a query function. Connects at first use.
 * Errors: `connection.invalid`, `option.*`, `duration.invalid`.
 */
export function connect(target?: string | ConnectOptions, options: ConnectOptions = {}): Dueq {
  const given = givenOptions(target, options)
  const schema = schemaName(given.schema ?? (process.env['DUEQ_SCHEMA'] || 'dueq'))
  const timeoutMs = durationMs('timeout', given.timeout ?? '30s', { min: '100ms', max: '1h' })
  const source = sourceOf(given)
  const listenUrl = given.listenUrl ?? (('url' in source && process.env['DUEQ_LISTEN_URL']) || undefined)
  const prepare = given.prepare ?? (isPostgresJs(given.sql) ? (given.sql.options?.prepare ?? true) : true)
  const pool = openPool(source, timeoutMs)
  const statements = statementsOf(schema)
  const emit = createEmitter(given.onEvent)
  const open: Client['open'] = new Set()

  let closing: Promise<StopReport> | undefined
  const checking = checkingSchema(pool.query, statements, schema)
  const query = checking(pool.query)
  const urgent = checking(pool.urgent)

  const wakeups = createWakeups({
    source: given.listen === false ? undefined : listenSource(source, listenUrl),
    channel: schema,
    statements,
    query,
    emit,
  })
  const throttle = throttleWakes(createSender(query, statements))
  const coalescer = given.coalesce === false ? undefined : coalesceEnqueues(throttle, timeoutMs)

  const client: Client = {
    name: given.name ?? `${hostname()}:${process.pid}:${randomBytes(2).toString('hex')}`,
    query,
    urgent,
    prepare,
    statements,
    enqueuer: coalescer ?? throttle,
    room: createRoom(),
    leases: createLeases((ids, attempts, leaseMs) => statements.extendMany(urgent, ids, attempts, leaseMs)),
    wakeups,
    watches: createWatches(wakeups),
    emit,
    acks: createAcks(urgent, statements),
    returns: createReturns(urgent, statements),
    pending: createPending(),
    isHeard: given.onEvent !== undefined,
    compared: new Set(),
    open,
  }

  const definition = (queue: Queue | string): Queue =>
    typeof queue === 'string' ? defineQueue(queue) : checkDefinition(queue)
  const alive = (): void => {
    if (closing) throw new DueqError('client.closed', 'This dueq client is closed.')
  }
  const verbs = (query: Query): Pick<Dueq, 'cancel' | 'reschedule'> => ({
    async cancel(id) {
      refuse(id, await statements.cancel(query, messageId(id)))
    },
    async reschedule(id, when) {
      knownOptions('reschedule', when, ['delay', 'at'])
      const { delay, at } = (when ?? {}) as { delay?: Duration; at?: Instant }
      if ((delay === undefined) === (at === undefined))
        throw new DueqError('delay.and_at', 'Give `reschedule` one of `delay` and `at`.')
      const delayMs = delay === undefined ? undefined : durationMs('delay', delay)
      refuse(
        id,
        await statements.reschedule(
          query,
          messageId(id),
          delayMs,
          at === undefined ? undefined : instantText('at', at),
        ),
      )
    },
  })

  const dueq: Dueq = {
    async ensure(queues) {
      checkDefinitions(queues)
      for (const queue of queues) await ensureQueue(client, queue)
    },
    queue: ((queue: Queue | string) => {
      alive()
      return createHandle(client, definition(queue))
    }) as Dueq['queue'],
    in(transaction) {
      alive()
      const inside = namingRoles(transactionQuery(transaction, prepare), schema)
      return {
        queue: ((queue: Queue | string) =>
          createProducer(plainEnqueuer(inside, statements), definition(queue))) as DueqInTransaction['queue'],
        ...verbs(inside),
      }
    },
    ...verbs(query),
    stats: () => statements.stats(query),
    doctor: () =>
      examine({
        query: namingRoles(pool.query, schema),
        statements,
        schema,
        source,
        listen: given.listen === false ? 'off' : listenSource(source, listenUrl),
        isListening: client.wakeups.isUp,
      }),
    async check() {
      const start = performance.now()
      const schemaVersion = await statements.schemaVersion(query)
      return { schemaVersion, isListening: client.wakeups.isUp, roundTripMs: performance.now() - start }
    },
    async close(stop = {}) {
      checkStop('close', stop)
      closing ??= close(stop)
      return closing
    },
    async [Symbol.asyncDispose]() {
      await dueq.close()
    },
  }

  const close = async (stop: StopOptions): Promise<StopReport> => {
    const deadline = performance.now() + checkStop('close', stop).deadlineMs
    client.room.close()
    const reports = await Promise.all([...open].map((consumer) => consumer.stop(stop)))
    await client.pending.flush(deadline)
    client.watches.close()
    await client.wakeups.close()
    client.leases.close()
    await coalescer?.close()
    await throttle.close()
    await pool.close()
    const sum = (field: keyof StopReport): number => reports.reduce((total, report) => total + report[field], 0)
    return { finished: sum('finished'), released: sum('released'), stillRunning: sum('stillRunning') }
  }
  return dueq
}

// --- internal ---

function refuse(id: string, outcome: string | null): void {
  if (outcome === null)
    throw new DueqError(
      'message.not_found',
      `There is no message ${id}: it was settled or cancelled, or never enqueued.`,
      { details: { id } },
    )
  if (outcome === 'leased')
    throw new DueqError(
      'message.leased',
      `Message ${id} is in the hands of a consumer. Its handler settles it, or the lease ends.`,
      { details: { id } },
    )
}
