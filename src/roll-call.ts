// Tells many to look, a few at a time. The acks and enqueues of a client share its connections with the looks of its
// consumers: behind those of 1,000 consumers that were all told at once they waited for a tenth of a second.

/** So many are called at once, the next ones so long after them. */
const atOnce = 25
const pauseMs = 10

/** Calls everybody on the list, once, in the order in which they got on it. */
export type RollCall<T> = {
  /** Puts these on the list, unless they are on it, and begins. */
  begin(all: Iterable<T>): void
  remove(one: T): void
  /** Calls nobody any more. */
  clear(): void
}

/** Makes a roll call. Its timer does not keep the process alive. */
export function createRollCall<T>(call: (one: T) => void): RollCall<T> {
  const list = new Set<T>()
  let timer: NodeJS.Timeout | undefined

  const callSome = (): void => {
    timer = undefined
    let count = 0
    for (const one of list) {
      if (count++ === atOnce) break
      list.delete(one)
      call(one)
    }
    if (list.size > 0) timer = setTimeout(callSome, pauseMs).unref()
  }
  return {
    begin(all) {
      for (const one of all) list.add(one)
      if (!timer) callSome()
    },
    remove: (one) => void list.delete(one),
    clear() {
      list.clear()
      clearTimeout(timer)
      timer = undefined
    },
  }
}
