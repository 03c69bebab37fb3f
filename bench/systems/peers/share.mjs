// One client or worker pool for all producers or consumers of a process, as an application has it: libraries that multiplex
// are not measured as if they did not.

/**
 * Lends what `open` opens: the first borrower opens it, the last one closes it.
 * @template {{ close: () => Promise<unknown> }} T
 * @param {(context: import('../../contract.js').Context, ...rest: any[]) => Promise<T>} open
 */
export function share(open) {
  /** @type {Map<unknown, { users: number, opened: Promise<T> }>} */
  const entries = new Map()
  /**
   * @param {unknown} key what is equal is shared
   * @param {Parameters<typeof open>} args
   * @returns {Promise<{ value: T, close: () => Promise<void> }>}
   */
  return async (key, ...args) => {
    const entry = entries.get(key) ?? { users: 0, opened: open(...args) }
    entries.set(key, entry)
    entry.users++
    const value = await entry.opened
    return {
      value,
      async close() {
        if (--entry.users > 0) return
        entries.delete(key)
        await value.close()
      },
    }
  }
}
