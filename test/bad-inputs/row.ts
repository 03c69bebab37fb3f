/** One bad input: what it is, the code it must give, words that its message must hold, and how to do it. */
import type { Message } from '../../src/index.js'
import type { QueueHandle } from '../../src/queue.js'
import type { TestClient } from '../client/client.js'

/** What the rows find: an existing queue, and messages in the states that rows ask for. */
export type World = {
  readonly test: TestClient
  readonly queue: QueueHandle<unknown, unknown>
  /** Leased for 12 hours, not settled. */
  readonly leased: Message
  readonly settled: Message
  /** Claimed by another consumer since. */
  readonly stale: Message
}

export type BadInput = readonly [what: string, code: string, says: RegExp, attempt: (world: World) => unknown]
