// Many concurrent calls, few statements: what is called while a statement is in flight rides in the next one. A lone call
// goes at once, so an idle caller waits for nothing. Each call settles after its own statement.
//
//   idle -- call --> in flight -- calls queue up --> done: the queue becomes the next statement, or idle

/** Makes a function of one item from a function of many. `run` gives one outcome for each item, in order. */
export function coalesce<I, O>(
  run: (items: readonly I[]) => Promise<readonly O[]>,
  maxItems: number,
): (item: I) => Promise<O> {
  type Waiting = { readonly item: I; readonly resolve: (outcome: O) => void; readonly reject: (error: unknown) => void }
  let waiting: Waiting[] = []
  let isInFlight = false

  const flush = async (): Promise<void> => {
    isInFlight = true
    while (waiting.length > 0) {
      const batch = waiting.slice(0, maxItems)
      waiting = waiting.slice(batch.length)
      try {
        const outcomes = await run(batch.map(({ item }) => item))
        batch.forEach(({ resolve }, i) => {
          resolve(outcomes[i]!)
        })
      } catch (error) {
        for (const { reject } of batch) reject(error)
      }
    }
    isInFlight = false
  }

  return (item) =>
    new Promise((resolve, reject) => {
      waiting.push({ item, resolve, reject })
      if (!isInFlight) void flush()
    })
}
