// What `consume` takes.
import { DueqError } from './errors.js'
import { abortSignal, type Duration, durationMs, knownOptions, wholeNumber } from './options.js'

export type ConsumeOptions = {
  /** How many handlers run at once, 1 to 10000. @default 10 */
  readonly concurrency?: number
  /** How long a message is held between extensions, 1s to 12h. @default the lease of the queue */
  readonly lease?: Duration
  /** The longest sleep between looks, and so what a lost notification may cost, 100ms to 1h; the stored poll interval of the queue is an upper bound. @default the stored one */
  readonly pollInterval?: Duration
  /** At most this many messages are claimed ahead of free handlers, 0 to 2000; slow handlers get fewer. @default 2000 */
  readonly prefetch?: number
  /** Stops the consumer (mode finish) when it aborts. */
  readonly signal?: AbortSignal
}

/** Reads the options of `consume`; durations become ms. Raises `option.unknown`, `option.invalid`, `duration.invalid`. */
export function checkConsume(handler: unknown, options: ConsumeOptions) {
  knownOptions('consume', options, ['concurrency', 'lease', 'pollInterval', 'prefetch', 'signal'])
  if (typeof handler !== 'function')
    throw new DueqError('option.invalid', 'Expected the handler of `consume` to be a function.')
  abortSignal('signal', options.signal)
  return {
    concurrency: wholeNumber('concurrency', options.concurrency ?? 10, 1, 10_000),
    leaseMs: options.lease === undefined ? undefined : durationMs('lease', options.lease, { min: '1s', max: '12h' }),
    pollMs:
      options.pollInterval === undefined
        ? Number.POSITIVE_INFINITY
        : durationMs('pollInterval', options.pollInterval, { min: '100ms', max: '1h' }),
    prefetch: wholeNumber('prefetch', options.prefetch ?? 2000, 0, 2000),
  }
}
