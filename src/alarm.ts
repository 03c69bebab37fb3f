// One timer for the earliest of the instants that it was armed for. It does not keep the process alive: whoever works on a
// message does.

/** Something that goes off. */
export type Alarm = {
  /** Goes off at this instant of `performance.now()`, unless it goes off sooner anyway. */
  arm(at: number): void
  clear(): void
}

/** Makes an alarm that calls `run`. */
export function createAlarm(run: () => unknown): Alarm {
  let armedAt = Number.POSITIVE_INFINITY
  let timer: NodeJS.Timeout | undefined
  const clear = (): void => {
    clearTimeout(timer)
    armedAt = Number.POSITIVE_INFINITY
  }
  return {
    arm(at) {
      if (at >= armedAt) return
      clearTimeout(timer)
      armedAt = at
      timer = setTimeout(
        () => {
          armedAt = Number.POSITIVE_INFINITY
          void run()
        },
        Math.max(Math.ceil(at - performance.now()), 1),
      ).unref()
    },
    clear,
  }
}
