// What of the samples is looked at: the panels of the picture with their lines, and the rows of the table with their bounds.
import { judgeFlat, percentile, trendOf } from './flat.mjs'

const mb = (bytes) => (bytes === null || bytes === undefined ? null : bytes / 1e6)
const ofDatabase = (of) => (sample) => (sample.database === null ? null : (of(sample.database) ?? null))

/** Below this a run is too short to tell what is flat, in seconds. */
export const judgedFrom = 300

/** What the last two thirds may grow by: a share of the second third, or so much in the unit of the figure where that is more. */
export const bounds = {
  memory: { share: 0.15, least: 10 },
  connections: { share: 0.2, least: 3 },
  disk: { share: 0.2, least: 1 },
}

/**
 * The panels: each has a unit, and lines that give a value for a sample. Lines with a bound are judged; the others have
 * no row of their own in the table where they say so.
 */
export function panelsOf(samples) {
  const processes = samples[0]?.processes ?? []
  const indexes = [...new Set(samples.flatMap(({ database }) => Object.keys(database?.indexes ?? {})))]
  const memory = processes.map(({ name, isSpared }, at) => ({
    label: name,
    of: ({ processes }) => mb(processes[at].bytes),
    ...(isSpared ? { bound: bounds.memory } : { isFaint: true, hasRow: false }),
  }))
  const table = (name) => ofDatabase(({ tables }) => mb(tables[name]))
  return [
    { title: 'Memory of each process', unit: 'MB resident; thick: never killed', lines: memory },
    {
      title: 'Connections',
      unit: 'sessions of the server',
      lines: ['producers', 'consumers', 'others'].map((role) => ({
        ...{ label: role, of: ofDatabase(({ connections }) => connections[role]), bound: bounds.connections },
        ...(role === 'others' ? { isFaint: true } : {}),
      })),
    },
    {
      title: 'Table of messages',
      unit: 'MB',
      lines: [{ label: 'messages', of: table('messages'), bound: bounds.disk }],
    },
    {
      title: 'Indexes of messages',
      unit: 'MB',
      lines: [
        { label: 'all', of: ofDatabase(({ indexes }) => mb(sum(Object.values(indexes)))), bound: bounds.disk },
        ...indexes.map((name) => ({
          ...{ label: name.replace(/^.*messages_|_idx$/g, ''), hasRow: false },
          of: ofDatabase(({ indexes }) => mb(indexes[name])),
        })),
      ],
    },
    {
      title: 'Dead rows of messages',
      unit: 'thousands, by the server’s count',
      lines: [{ label: 'dead rows', of: ofDatabase(({ deadTuples }) => deadTuples / 1000) }],
    },
    {
      title: 'Depth of the queue',
      unit: 'messages',
      lines: ['ready', 'delayed', 'leased'].map((name) => ({ label: name, of: ofDatabase((found) => found[name]) })),
    },
    {
      title: 'Lateness of first deliveries',
      unit: 'ms, logarithmic',
      isLogarithmic: true,
      lines: [50, 99].map((rank) => ({
        label: `p${rank}`,
        of: ({ lateness }) => lateness?.[`p${rank}`] ?? null,
      })),
    },
    {
      title: 'Rate',
      unit: 'messages a second',
      lines: ['enqueued', 'delivered'].map((name) => ({ label: name, of: (sample) => sample[name] })),
    },
    {
      title: 'Other tables',
      unit: 'MB',
      lines: [
        { label: 'dead_letters', of: table('dead_letters') },
        { label: 'queues', of: table('queues'), bound: bounds.disk },
        { label: 'whole schema', of: ofDatabase(({ total }) => mb(total)), isFaint: true },
      ],
    },
    {
      title: 'Faults under way',
      unit: 'at the instant of the sample',
      lines: [{ label: 'faults', of: ({ faults }) => faults.underWay }],
    },
  ]
}

/** The rows of the table, judged where they have a bound and the run was long enough. */
export function judge({ samples, seconds }) {
  const rows = panelsOf(samples).flatMap(({ title, unit, lines }) =>
    lines
      .filter(({ hasRow = true }) => hasRow)
      .map(({ label, of, bound }) => {
        const trend = trendOf(
          samples.map((sample) => [sample.seconds, of(sample)]),
          seconds,
        )
        const verdict = bound && seconds >= judgedFrom ? judgeFlat(trend, bound) : undefined
        return { figure: `${title}: ${label}`, unit, ...trend, verdict }
      }),
  )
  const isJudged = seconds >= judgedFrom
  return { rows, isJudged, isFlat: isJudged ? rows.every(({ verdict }) => verdict?.isFlat ?? true) : null }
}

/** Gives every sample the lateness of what was claimed since the one before; of the database's clock. */
export function withLateness(samples, lateness) {
  const ends = samples.map(({ database }) => database?.micros ?? null)
  const known = ends.flatMap((micros, at) => (micros === null ? [] : [{ micros, at }]))
  const windows = new Map(known.map(({ at }) => [at, []]))
  for (const [micros, ms] of lateness) {
    let [low, high] = [0, known.length]
    while (low < high) {
      const middle = (low + high) >> 1
      if (known[middle].micros < micros) low = middle + 1
      else high = middle
    }
    const window = known[low]
    if (window) windows.get(window.at).push(ms)
  }
  return samples.map((sample, at) => {
    const values = windows.get(at) ?? []
    if (values.length === 0) return { ...sample, lateness: null }
    return { ...sample, lateness: { count: values.length, p50: percentile(values, 50), p99: percentile(values, 99) } }
  })
}

// --- internal ---

function sum(values) {
  return values.reduce((total, value) => total + value, 0)
}
