// Whether a figure is flat: whether it grows in the last two thirds of a run, when everything has found its size.
//
// Two measures, because each is blind to something. The slope is that of Theil and Sen, the median of the slopes between all
// pairs of points: what happens for a while, as after a fault, does not move it; a single step up does not either. The
// rise, from the median of the second third to that of the last, sees the step. Shrinking is flat.

/**
 * What a series does over a run of so many seconds. `growth` is the slope times the two thirds, `rise` the step between
 * their medians; both in the unit of the series.
 * @param {readonly (readonly [seconds: number, value: number | null])[]} series
 */
export function trendOf(series, seconds) {
  const known = series.filter(([, value]) => value !== null && Number.isFinite(value))
  const third = (n) =>
    known.filter(([at]) => at >= (n * seconds) / 3 && at < ((n + 1) * seconds) / 3 + (n === 2 ? 1e9 : 0))
  const thirds = [0, 1, 2].map((n) => median(third(n).map(([, value]) => value)))
  const perSecond = slopeOf([...third(1), ...third(2)])
  return { thirds, perHour: perSecond * 3600, growth: (perSecond * seconds * 2) / 3, rise: thirds[2] - thirds[1] }
}

/**
 * Judges a trend: neither its growth nor its rise may be above `share` of the median of the second third, or above `least`
 * where that is more. A series with too few points to tell is not flat.
 * @param {ReturnType<typeof trendOf>} trend @param {{ share: number, least: number }} bound
 */
export function judgeFlat({ thirds, growth, rise }, { share, least }) {
  const allowed = Math.max(share * thirds[1], least)
  const grown = Math.max(growth, rise)
  return { allowed, grown, isFlat: grown <= allowed }
}

export function median(values) {
  const sorted = values.toSorted((a, b) => a - b)
  const middle = sorted.length / 2
  return sorted.length === 0 ? Number.NaN : (sorted[Math.floor(middle)] + sorted[Math.ceil(middle) - 1]) / 2
}

/** Percentile by nearest rank, 0 to 100; NaN of nothing. */
export function percentile(values, percent) {
  const sorted = Float64Array.from(values).sort()
  return sorted[Math.max(0, Math.ceil((percent * sorted.length) / 100) - 1)] ?? Number.NaN
}

// --- internal ---

function slopeOf(points) {
  const slopes = []
  for (const [i, [x, y]] of points.entries())
    for (const [otherX, otherY] of points.slice(i + 1)) if (otherX > x) slopes.push((otherY - y) / (otherX - x))
  return median(slopes)
}
