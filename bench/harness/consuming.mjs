// What a process of consumers does. Verbs of role.mjs; each gives plain data.
//
// The handler counts. Where the payload says when it was enqueued (`t` above 0) it also notes the time and how late that is;
// fillings have no `t`, so that drains measure the queue and not the notes.
import { lateMark } from './payload.mjs'
import { loadSystem } from './systems.mjs'
import { monotonicMs } from './time.mjs'

/** @type {import('../contract.js').Consumer[]} */
let consumers = []
let handled = 0
let firstAt = 0
let lastAt = 0
let lateAt = 0
/** @type {number[]} */
let instants = []
/** @type {number[]} */
let latenesses = []
/** @type {number[]} */
let claimInstants = []
/** @type {number[]} */
let claims = []
/** @type {number[]} */
let memory = []
let sampleEvery = 0
let cpuAtOpen = process.cpuUsage()

/**
 * Opens `count` consumers in this process. `sampleMemoryEvery`: notes the resident memory at each so many messages.
 * @param {{
 *   system: string, context: import('../contract.js').Context, options?: import('../contract.js').ConsumerOptions,
 *   count?: number, isTimingClaims?: boolean, sampleMemoryEvery?: number,
 * }} args
 */
export async function openConsumers({
  system,
  context,
  options = {},
  count = 1,
  isTimingClaims = false,
  sampleMemoryEvery = 0,
}) {
  const { consumer } = await loadSystem(system)
  sampleEvery = sampleMemoryEvery
  cpuAtOpen = process.cpuUsage()
  const onClaim = isTimingClaims ? noteClaim : undefined
  consumers = await Promise.all(
    Array.from({ length: count }, () => consumer(context, onMessage, { ...options, onClaim })),
  )
}

/** How many messages were handled so far. */
export function handledCount() {
  return handled
}

/** Everything noted, and a fresh start. Times are monotonic, in ms. */
export function takeNotes() {
  const { user, system } = process.cpuUsage(cpuAtOpen)
  const notes = {
    /** Since the consumers were opened, the start of the process not included. */
    cpuMs: (user + system) / 1000,
    handled,
    firstAt,
    lastAt,
    lateAt,
    instants: Float64Array.from(instants),
    latenesses: Float64Array.from(latenesses),
    claimInstants: Float64Array.from(claimInstants),
    claims: Float64Array.from(claims),
    memory: Float64Array.from(memory),
  }
  handled = firstAt = lastAt = lateAt = 0
  instants = []
  latenesses = []
  claimInstants = []
  claims = []
  memory = []
  return notes
}

export async function closeConsumers() {
  await Promise.all(consumers.map((consumer) => consumer.close()))
  consumers = []
}

// --- internal ---

/** @param {import('../contract.js').Payload} payload */
function onMessage({ t, d = 0 }) {
  handled++
  lastAt = monotonicMs()
  if (t > 0) {
    if (d === lateMark) lateAt = lastAt
    else {
      instants.push(lastAt)
      latenesses.push(lastAt - t - d)
    }
  }
  if (handled === 1) firstAt = lastAt
  if (sampleEvery > 0 && handled % sampleEvery === 0) memory.push(process.memoryUsage.rss())
}

/** @param {number} ms */
function noteClaim(ms) {
  claims.push(ms)
  claimInstants.push(monotonicMs())
}
