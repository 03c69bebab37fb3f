// Times statements inside postgres.js, so that a system is measured in its own configuration: a pool of ours around it
// would be another one.

/**
 * Calls back with the duration of each statement of this process whose text is asked for, from when it goes to a
 * connection until its answer is read.
 * @param {(text: string) => boolean} isWanted
 * @param {(ms: number) => void} onTime
 */
export async function timeStatements(isWanted, onTime) {
  const { Query } = await import(new URL('./query.js', import.meta.resolve('postgres')).href)
  const { handle } = Query.prototype
  Query.prototype.handle = function () {
    if (!this.executed && isWanted(this.strings[0])) {
      const start = performance.now()
      const { resolve } = this
      this.resolve = (/** @type {unknown} */ rows) => {
        onTime(performance.now() - start)
        return resolve(rows)
      }
    }
    return handle.call(this)
  }
}
