// The one clock of a measurement: monotonic, and the same in all processes of the machine.

/** Milliseconds since some moment in the past, to the microsecond. */
export function monotonicMs() {
  return Number(process.hrtime.bigint()) / 1e6
}

/** @param {number} ms */
export function pause(ms) {
  return new Promise((resolve) => setTimeout(resolve, ms))
}
