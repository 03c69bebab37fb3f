// Lets looks through that are made in case there is something: a few at a time. The acks and enqueues of a client share its
// connections with the looks of its consumers: behind those of 1,000 queues that were all told to look they waited for a tenth of
// a second. Who was told of a message, or finds one after the other, does not come here.

/** So many are under way at once. 25 that take a tenth of a second each are enough for 1,000 queues in a poll interval of 5 s. */
const most = 25

/** One that has not left for so long, in ms, hangs, and is no reason to wait. */
const hangingMs = 1_000

/** In case who was let through does not come: the next ones after so many ms. */
const pauseMs = 10

export type Gate = {
  /** Whether there is room. If not, `onRoom` is called when there is, in its turn, to ask again. */
  hasRoom(onRoom: () => void): boolean
  /** Takes a place; gives the function that leaves it. */
  enter(): () => void
  /** Who waits does so no more. */
  forget(onRoom: () => void): void
}

/** Makes a gate. */
export function createGate(): Gate {
  /** When each of those under way began, the first one first. */
  const inside = new Set<{ readonly at: number }>()
  const waiting = new Set<() => void>()
  let isArmed = false

  const room = (): number => {
    const hangingSince = performance.now() - hangingMs
    let hanging = 0
    for (const { at } of inside) {
      if (at > hangingSince) break
      hanging++
    }
    return most - (inside.size - hanging)
  }
  const callNext = (): void => {
    let left = room()
    for (const onRoom of waiting) {
      if (left-- <= 0) break
      waiting.delete(onRoom)
      onRoom()
    }
    if (waiting.size > 0) arm()
  }
  const arm = (): void => {
    if (isArmed) return
    isArmed = true
    setTimeout(onTimer, pauseMs).unref()
  }
  const onTimer = (): void => {
    isArmed = false
    callNext()
  }
  return {
    hasRoom(onRoom) {
      if (room() > 0) return true
      waiting.add(onRoom)
      arm()
      return false
    },
    enter() {
      const one = { at: performance.now() }
      inside.add(one)
      return () => {
        if (inside.delete(one)) callNext()
      }
    },
    forget: (onRoom) => void waiting.delete(onRoom),
  }
}
