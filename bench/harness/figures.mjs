// The few statistics of a report.

/** @param {readonly number[] | Float64Array} values @param {number} part 0 to 1 */
export function percentile(values, part) {
  if (values.length === 0) return Number.NaN
  const sorted = Float64Array.from(values).sort()
  return /** @type {number} */ (sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * part))])
}

/** The middle one, or the mean of the two in the middle. @param {readonly number[]} values */
export function median(values) {
  const sorted = values.filter((value) => !Number.isNaN(value)).toSorted((a, b) => a - b)
  const [below, above] = [Math.ceil(sorted.length / 2) - 1, Math.floor(sorted.length / 2)]
  return ((sorted[below] ?? Number.NaN) + (sorted[above] ?? Number.NaN)) / 2
}

/** @param {readonly number[]} values */
export function spread(values) {
  const known = values.filter((value) => !Number.isNaN(value))
  return { median: median(known), min: Math.min(...known), max: Math.max(...known), rounds: values }
}

/**
 * Those of `values` whose instant lies in a window.
 * @param {Float64Array} values @param {Float64Array} instants @param {number} from @param {number} to
 */
export function within(values, instants, from, to) {
  return values.filter((_, i) => {
    const at = /** @type {number} */ (instants[i])
    return at >= from && at < to
  })
}

/** Several processes' figures as one. @param {readonly Float64Array[]} parts */
export function joined(parts) {
  const all = new Float64Array(parts.reduce((sum, part) => sum + part.length, 0))
  let at = 0
  for (const part of parts) {
    all.set(part, at)
    at += part.length
  }
  return all
}
