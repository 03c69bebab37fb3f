// The one clock of a measurement: monotonic, and the same in all processes of the machine.

/**
 * What `performance.now()` adds to, in ms: it counts on that same clock from the start of its process, and is four times as fast
 * to read. Of several readings the closest pair counts: a process that is interrupted between the two would be milliseconds off.
 */
const startedAt = closest(100)

/** Milliseconds since some moment in the past, to the microsecond. */
export function monotonicMs() {
  return startedAt + performance.now()
}

/** @param {number} ms */
export function pause(ms) {
  return new Promise((resolve) => setTimeout(resolve, ms))
}

// --- internal ---

/** @param {number} readings */
function closest(readings) {
  let [best, offset] = [Number.POSITIVE_INFINITY, 0]
  for (let i = 0; i < readings; i++) {
    const before = performance.now()
    const monotonic = Number(process.hrtime.bigint()) / 1e6
    const width = performance.now() - before
    if (width < best) [best, offset] = [width, monotonic - before - width / 2]
  }
  return offset
}
