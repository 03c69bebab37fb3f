// Long work in turns: a loop over a hundred thousand messages must let timers and sockets have their turn, or the leases that
// the same process holds are not extended meanwhile.

/** How long a loop may hold the process. Half of the time goes to the loop even where every turn finds something to do. */
const turnMs = 10

/** Makes a `rest` for one loop: a promise once the loop has run for a turn, undefined (nothing to await) before. */
export function createRest(): () => Promise<void> | undefined {
  let endsAt = performance.now() + turnMs
  return () => {
    if (performance.now() < endsAt) return undefined
    return new Promise((resolve) => {
      setImmediate(() => {
        endsAt = performance.now() + turnMs
        resolve()
      })
    })
  }
}
