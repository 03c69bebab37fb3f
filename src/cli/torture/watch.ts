/**
 * Whoever measures a run from outside while it is under load, and hears of its journals when it is judged.
 */
import type { JournalRecord } from '../journal.js'
import type { Director } from './director.js'
import type { TorturePlace } from './place.js'
import type { Slot } from './slots.js'

export type WatchedRun = Pick<TorturePlace, 'place' | 'queue' | 'run' | 'server'> & {
  readonly slots: readonly Slot[]
  /** Faults under way and over. */
  readonly director: Pick<Director, 'spans' | 'active'>
}

export type TortureWatch = {
  /** The load is over. Safe to call again. */
  end(): Promise<void>
  /** Is shown every record of all journals, one journal after the other. */
  heard(record: JournalRecord): void
}
