// One timer, never early: those of Node fire up to a millisecond before their time. It does not keep the process alive:
// whoever works on a message, or waits for one, does.

/** Something that goes off. */
export type Alarm = {
  /** Goes off at this instant of `performance.now()`, unless it goes off sooner anyway. */
  arm(at: number): void
  /** Goes off at this instant, whatever was set before; Infinity: never. */
  set(at: number): void
  clear(): void
}

/** The longest timer of Node in ms, 24 days: a longer one fires at once. */
const longestMs = 2 ** 31 - 1

/** Makes an alarm that calls `run`. */
export function createAlarm(run: () => unknown): Alarm {
  let armedAt = Number.POSITIVE_INFINITY
  let timer: NodeJS.Timeout | undefined
  let immediate: NodeJS.Immediate | undefined
  const check = (): void => {
    const leftMs = armedAt - performance.now()
    if (leftMs <= 0) {
      armedAt = Number.POSITIVE_INFINITY
      void run()
    } else start(leftMs)
  }
  const start = (leftMs: number): void => {
    // The shortest timer takes a millisecond; to spin for longer than this costs more than it gains (latch.ts). Not unref'd:
    // for an immediate that is, the event loop goes to sleep until something else happens.
    if (leftMs < 0.2) immediate = setImmediate(check)
    else timer = setTimeout(check, Math.min(Math.max(Math.floor(leftMs), 1), longestMs)).unref()
  }
  const set = (at: number): void => {
    if (at === armedAt) return
    clearTimeout(timer)
    clearImmediate(immediate)
    armedAt = at
    if (at < Number.POSITIVE_INFINITY) start(at - performance.now())
  }
  return {
    arm(at) {
      if (at < armedAt) set(at)
    },
    set,
    clear: () => set(Number.POSITIVE_INFINITY),
  }
}
