// What the looks of a process at a queue remember: the hint of an answer (opaque; the database says in it what need not be
// looked at again), and the earliest instant that a notification has named since the look of that hint began.
//
// Looks run side by side, and their answers come in any order. Two rules keep a hint from hiding what a notification told:
// - A hint replaces only that of a look that began earlier. One from before a wake-up knows nothing of it, and would undo
//   what a later look, which was told, has answered.
// - The instant of a wake-up goes to every look until the hint of one that was told is there: a look that begins beside the
//   first one told starts from the old hint, and would answer with one that is too high.
// Whatever leaves open what was missed (notifications that were not heard, a look that failed or may have done anything)
// drops the hint, and those of looks under way are not taken any more.

/** What a look is told, and what becomes of its hint. */
export type Recall = {
  readonly hint: string | null
  /** The earliest instant that a notification named, in seconds since 1970 by the database; null: none. */
  readonly wokenFrom: number | null
  /** The look gave this hint. */
  answered(hint: string | null): void
  /** No answer comes any more. */
  failed(): void
}

/** The hint of a queue. */
export type Hint = {
  /** A look begins. */
  begin(): Recall
  /** A notification named this instant, in seconds since 1970. */
  woken(readyAtSeconds: number): void
  drop(): void
}

/** Makes a hint that knows nothing. */
export function createHint(): Hint {
  let held: { readonly hint: string | null; readonly no: number } = { hint: null, no: 0 }
  /** Since the look of the held hint began. */
  let wokenFrom = Number.POSITIVE_INFINITY
  let lastNo = 0
  /** By look under way: the earliest instant named since it began. */
  const wokenSince = new Map<number, number>()

  const drop = (): void => {
    held = { hint: null, no: lastNo }
    wokenFrom = Number.POSITIVE_INFINITY
  }
  return {
    begin() {
      const no = ++lastNo
      wokenSince.set(no, Number.POSITIVE_INFINITY)
      return {
        hint: held.hint,
        wokenFrom: Number.isFinite(wokenFrom) ? wokenFrom : null,
        answered(hint) {
          const since = wokenSince.get(no)
          wokenSince.delete(no)
          if (since === undefined || no <= held.no) return
          held = { hint, no }
          wokenFrom = since
        },
        failed() {
          wokenSince.delete(no)
          drop()
        },
      }
    },
    woken(readyAtSeconds) {
      wokenFrom = Math.min(wokenFrom, readyAtSeconds)
      for (const [no, since] of wokenSince) if (readyAtSeconds < since) wokenSince.set(no, readyAtSeconds)
    },
    drop,
  }
}
