/** What people see of the model, in the columns of the views, and the same read from the engine. Instants are microseconds. */
import type { Instant, Message, World } from './model.js'
import { nextReadyAt } from './operate.js'
import { microseconds, since } from './sql.js'

export type Seen = {
  readonly messages: readonly Record<string, unknown>[]
  readonly deadLetters: readonly Record<string, unknown>[]
  readonly queues: readonly Record<string, unknown>[]
}

/** There is no state column: the state is what readyAt and leasedBy say at this moment. */
function stateOf({ now }: World, { leasedBy, readyAt }: Message): 'delayed' | 'ready' | 'leased' | 'lapsed' {
  if (leasedBy !== null) return readyAt > now ? 'leased' : 'lapsed'
  return readyAt > now ? 'delayed' : 'ready'
}

export function seenOf(world: World): Seen {
  const messages = world.messages.all().map((message) => ({ ...message, state: stateOf(world, message) }))
  const deadLetters = world.deadLetters.all()
  return {
    messages: messages.map(({ readySince: _, ...shown }) => shown),
    deadLetters,
    queues: world.queues.all().map((queue) => {
      const own = messages.filter((message) => message.queue === queue.name)
      const count = (state: string) => own.filter((message) => message.state === state).length
      const readyAts = own.map(({ readyAt }) => readyAt)
      const earliest = readyAts.length > 0 ? Math.min(...readyAts) : null
      return {
        ...queue,
        delayed: count('delayed'),
        ready: count('ready'),
        leased: count('leased'),
        lapsed: count('lapsed'),
        dead: deadLetters.filter((letter) => letter.queue === queue.name).length,
        readyFor: earliest !== null && earliest <= world.now ? world.now - earliest : null,
        // The view ignores pauses, the function does not.
        earliest,
        nextReadyAt: nextReadyAt(world, queue.name),
      }
    }),
  }
}

/** One statement that reads all of `Seen`, in the names of the model; `id` is the engine's. */
export function seenStatement(origin: string): string {
  const at = (column: string) => since(origin, column)
  const letter = `'id', id::text, 'queue', queue, 'priority', priority, 'payload', payload, 'dedupKey', dedup_key,
    'enqueuedAt', ${at('enqueued_at')}, 'dueAt', ${at('due_at')}, 'attempt', attempt, 'failures', failures,
    'lapses', lapses, 'lastError', last_error`
  return `select
    (select coalesce(json_agg(json_build_object(${letter}, 'readyAt', ${at('ready_at')}, 'leasedBy', leased_by,
            'state', state) order by id), '[]') from dueq.message_states) as messages,
    (select coalesce(json_agg(json_build_object(${letter}, 'reason', reason, 'diedAt', ${at('died_at')}) order by id), '[]')
       from dueq.dead_messages) as "deadLetters",
    (select coalesce(json_agg(json_build_object('name', queue, 'levels', g.priorities, 'pausedAt', ${at('s.paused_at')},
            'lease', ${microseconds('lease')}, 'maxAttempts', max_attempts, 'backoffBase', ${microseconds('backoff_base')},
            'backoffMax', ${microseconds('backoff_max')}, 'pollInterval', ${microseconds('poll_interval')}, 'maxDepth', g.max_depth,
            'delayed', delayed, 'ready', ready, 'leased', leased, 'lapsed', lapsed, 'dead', dead,
            'readyFor', ${microseconds('ready_for')}, 'earliest', ${at('next_ready_at')},
            'nextReadyAt', ${at('dueq.next_ready_at(queue)')}) order by queue), '[]')
       from dueq.queue_stats s join dueq.queue_settings g using (queue)) as queues`
}

/** The instant of a message, of what was seen. */
export function readyAtOf(seen: Seen, id: number): Instant | undefined {
  return seen.messages.find((message) => message['id'] === id)?.['readyAt'] as Instant | undefined
}
