// What a system under measurement gives, and what the harness gives to it. Adapters are plain JavaScript in systems/.
//
// One installation is made for each run, in a database of its own. Everything but the plain properties, `version` and `tune`
// is called in processes that run under the Node the system needs (role.mjs): one process for what an operator does (`setup`,
// `backlog`, `isEmpty` …), others for producers and consumers. There `producer` and `consumer` may be called several times:
// they share what a real application would share (a client, a pool), and the last `close` ends it.
//
// The runner loads each adapter under its own Node, so that a library which needs a newer one is imported inside functions.

/** Where a run takes place. Plain data: it crosses process boundaries. */
export type Context = {
  /** A superuser's URL of a database of this run's own: it may be filled and left as it likes. */
  readonly url: string
  /** Only for systems with `needs: 'redis'`; the database is empty. */
  readonly redisUrl?: string
  /** The queue that is measured. */
  readonly queue: string
  /** Another queue of the same installation, where idle consumers listen. */
  readonly otherQueue: string
  /** What the scenario says of itself, for systems that need to know. */
  readonly scenario: string
  /** What `tune` found; undefined without `tune`. */
  readonly tuned?: unknown
}

/**
 * A message as the harness makes it: JSON of the asked size. `t` is when the enqueue was called, in ms of the machine's
 * monotonic clock; `d` the delay asked for, in ms; `p` padding.
 */
export type Payload = { readonly t: number; readonly d?: number; readonly p: string }

export type ProducerOptions = {
  /**
   * Connections that carry single enqueues. Undefined: the best for `callers`, or the library's default.
   * With 1 and one caller nothing is gathered, which is what "coalescing off" means.
   */
  readonly connections?: number
  /** How many calls will be under way at once. A hint for the size of pools. */
  readonly callers: number
  /** Each enqueue in a transaction of the caller, which writes a row of its own. Only with `canJoinTransactions`. */
  readonly isTransactional?: boolean
}

export type Producer = {
  /** One message, durably enqueued when it settles. */
  enqueue(payload: Payload, options?: { readonly delayMs?: number }): Promise<unknown>
  /** Many messages at once by the system's own bulk call, durable when it settles. */
  enqueueMany(payloads: readonly Payload[], options?: { readonly delayMs?: number }): Promise<unknown>
  /**
   * Only with `canJoinTransactions`: begins, enqueues, waits, commits; gives the time of the commit (monotonic ms).
   */
  enqueueAndCommitLater?(payload: Payload, waitMs: number): Promise<number>
  close(): Promise<void>
}

export type ConsumerOptions = {
  /** Handlers at once. Undefined: the system's best documented figure for a no-op handler. */
  readonly concurrency?: number
  /** Messages per claim. Undefined: the system's best documented figure. */
  readonly batch?: number
  /** How many processes consume the queue in all. @default 1 */
  readonly processes?: number
  /** To be called with the duration of each statement (or command) that claims messages, as the process sees it. */
  readonly onClaim?: (ms: number) => void
  /** Which queue: `context.queue` unless this says otherwise. */
  readonly queue?: string
}

/** To be called once for each message, with the payload as it came back; a throw is a failure. */
export type OnMessage = (payload: Payload) => void

export type Consumer = {
  /** Ends without losing what is claimed; what was handled is settled. */
  close(): Promise<void>
}

export type System = {
  readonly name: string
  /** Floors are what SQL costs without a queue around it. Ratios are to floors and to the best peer; `own` is dueq itself. */
  readonly kind: 'own' | 'floor' | 'peer'
  /** The exact version of what is measured. */
  version(): string
  /** One line that names the configuration, and which documentation recommends it. */
  readonly settings: string
  /** The lowest major version of Node that runs it, for example 22. */
  readonly minNode: number
  readonly needs: 'postgres' | 'redis'
  /** Whether concurrent single enqueues are gathered into one statement or round trip. */
  readonly coalesces: boolean
  /** Whether an enqueue can join a transaction of the caller. */
  readonly canJoinTransactions?: boolean
  /** Scenarios it has no part in, with the reason. Runs that are left out are reported with it. */
  readonly skips?: Readonly<Record<string, string>>
  /** Installs itself and creates both queues. */
  setup(context: Context): Promise<void>
  producer(context: Context, options: ProducerOptions): Promise<Producer>
  /** Resolves when it is connected and ready for messages. */
  consumer(context: Context, onMessage: OnMessage, options: ConsumerOptions): Promise<Consumer>
  /**
   * Fills the queue quickly, by writing its tables as its own enqueue would. `delayMs` 0: due now; else due then, and
   * a little later for each, so that the instants differ.
   */
  backlog(context: Context, options: { count: number; delayMs: number; payload: Payload }): Promise<void>
  /** Whether nothing is left that is due or being handled (messages due in the future are left out). */
  isEmpty(context: Context): Promise<boolean>
  teardown(context: Context): Promise<void>
  /** Makes the installation send no notifications, or send them again. For systems whose notifications cost commits. */
  silence?(context: Context, isSilent: boolean): Promise<void>
  /** Makes producers believe that a consumer of `context.queue` sleeps, so that notifications are really sent. */
  announce?(context: Context): Promise<void>
  /** Finds the best settings for this machine, once for each run of the benchmark, by short drains in messages/s. */
  tune?(drain: (tuned: unknown, processes: number) => Promise<number>): Promise<unknown>
  /** What `tune` found, for people. */
  describeTuned?(tuned: unknown): string
}
