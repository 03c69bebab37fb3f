// Tells many to look, a few at a time, also where they come one by one. The acks and enqueues of a client share its connections with the looks of its
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
  /** How many more may be called before the timer. */
  let left = atOnce

  const callSome = (): void => {
    for (const one of list) {
      if (left === 0) break
      left--
      list.delete(one)
      call(one)
    }
    if (left < atOnce) timer ??= setTimeout(next, pauseMs).unref()
  }
  const next = (): void => {
    timer = undefined
    left = atOnce
    callSome()
  }
  return {
    begin(all) {
      for (const one of all) list.add(one)
      callSome()
    },
    remove: (one) => void list.delete(one),
    clear() {
      list.clear()
      clearTimeout(timer)
      timer = undefined
      left = atOnce
    },
  }
}
