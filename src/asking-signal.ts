// The signal of a message asks before it answers.
//
// A process that was stopped, or that a handler kept busy, runs its overdue timers in an order of its own: code of the
// handler comes before the watch of the lease, or never gives it a turn. A signal that only waits to be aborted would tell
// such code that all is well, long after another consumer has the message.

/** Makes the signal call `ask`, which may abort it, before it says whether it is aborted. */
export function askFirst({ signal }: AbortController, ask: () => void): void {
  Object.defineProperties(signal, {
    aborted: {
      get() {
        ask()
        return Reflect.get(AbortSignal.prototype, 'aborted', signal)
      },
    },
    throwIfAborted: {
      value() {
        ask()
        AbortSignal.prototype.throwIfAborted.call(signal)
      },
    },
  })
}
