/**
 * What `dueq bench` says at the end: one object for programs, and the same as a table for people, which fits 80
 * columns. The names of the JSON are read by scripts: they stay as they are.
 */
import { cpus } from 'node:os'
import type { Bound, Figure, Spread } from './bench-figures.js'
import type { BenchOptions, BenchResult } from './bench-run.js'
import type { Paint, Screen } from './screen.js'
import { type Cell, formatDuration, formatMs, safeText, table } from './table.js'

export type BenchSummary = ReturnType<typeof summaryOf>

/** Sums a run up. `problems` is empty exactly where nothing was lost and nothing came early. Durations are in ms. */
export function summaryOf(
  { place, baseline, figures, counts, tookMs }: BenchResult,
  options: Omit<BenchOptions, 'target' | 'signal' | 'onNote' | 'onProgress'>,
) {
  const { client, server } = place
  const { scenarios, messages, durationMs, rounds, concurrency, connections, payloadBytes, processes } = options
  const problems = [
    ...(counts.early > 0 ? [`${counts.early} messages were delivered before they were due`] : []),
    ...(counts.lost > 0 ? [`${counts.lost} of ${counts.enqueued} messages were not delivered`] : []),
  ]
  return {
    ok: problems.length === 0,
    problems,
    server: {
      version: server.version,
      place: place.description,
      schema: client.schema,
      isScratchSchema: client.isScratch,
      isEmbedded: client.isEmbedded,
      isPooled: server.isPooled,
      settings: server.settings,
    },
    client: { node: process.versions.node, platform: `${process.platform} ${process.arch}`, cpus: cpus().length },
    options: { scenarios, messages, durationMs, rounds, concurrency, connections, payloadBytes, processes },
    baseline,
    figures,
    counts,
    tookMs: Math.round(tookMs),
  }
}

/** Draws the summary for people; sentences are broken at `columns`. */
export function reportOf(summary: BenchSummary, { paint }: Screen, columns = 80): string {
  const { server, client, options, figures, counts, problems, tookMs } = summary
  const settings = ['fsync', 'synchronous_commit', 'wal_level', 'shared_buffers', 'max_connections']
  const isSynchronous = server.settings['synchronous_standby_names'] !== ''
  const facts = [
    ...settings.map((name) => `${name} ${server.settings[name]}`),
    ...(isSynchronous ? ['synchronous standby'] : []),
    server.isPooled ? paint.yellow('through a pooler') : 'no pooler',
  ]
  const verdict = `${counts.delivered} of ${counts.enqueued} delivered   early ${counts.early}   lost ${counts.lost}   twice ${counts.twice}`
  const isCounted = counts.enqueued > 0
  return [
    '',
    `${paint.bold(`PostgreSQL ${server.version}`)}  ${safeText(server.place)}`,
    ...wrap(facts, columns - 1),
    `Node ${client.node}, ${client.cpus} cores; ${options.connections} connections, ${options.payloadBytes} B payloads, ${options.rounds} rounds`,
    '',
    ...emphasized(figuresTable(figures), paint),
    '',
    ...explanation(summary).flatMap((line) => wrap(line.split(' '), columns - 1, ' ')),
    '',
    ...(isCounted ? [summary.ok ? paint.green(`✔ ${verdict}`) : paint.red(`✘ ${verdict}`)] : []),
    ...problems.map((problem) => paint.red(`  ${problem}`)),
    paint.dim(`took ${formatDuration(tookMs)}; everything that was written is removed`),
  ].join('\n')
}

// --- internal ---

function figuresTable(figures: readonly Figure[]): string {
  const rows = figures.map(({ label, unit, median, min, max, bare, ratio, boundBy }): Cell[] => {
    const value = (number: number): string => (unit === 'ms' ? formatMs(number) : `${perSecond(number)}/s`)
    const plain = (number: number): string => (unit === 'ms' ? formatMs(number).replace(' ms', '') : perSecond(number))
    const ratioText = ratio === null ? '' : `${ratio.median.toFixed(2)}×`
    return [label, value(median), plain(min), plain(max), bare ? value(bare.median) : '', ratioText, boundBy ?? '']
  })
  const right = 'right' as const
  const align = ['left', right, right, right, right, right, 'left'] as const
  return table(['', 'median', 'min', 'max', 'bare SQL', 'ratio', 'bound by'], rows, { align })
}

/** Commas by hand: what a locale makes of a number is read by nobody's script, but compared by people. */
function perSecond(value: number): string {
  if (!Number.isFinite(value)) return '-'
  return String(Math.round(value)).replace(/\B(?=(\d{3})+$)/g, ',')
}

/** The head in bold, the rule faint: painted as whole lines, since a cell could not hold the codes. */
function emphasized(text: string, paint: Paint): string[] {
  const [head = '', rule = '', ...rows] = text.split('\n')
  return [paint.bold(head), paint.dim(rule), ...rows]
}

/** What the figures of this database come from. */
function explanation({ baseline, figures, options }: BenchSummary): string[] {
  const { roundTripMs, commitMs } = baseline
  const spread = ({ median, min, max }: Spread): string => `${formatMs(median)} (${formatMs(min)} to ${formatMs(max)})`
  const lines = [`Round trip ${spread(roundTripMs)}${commitMs ? `, bare commit ${spread(commitMs)}` : ''}.`]
  if (commitMs) {
    const onDiskMs = Math.max(commitMs.median - roundTripMs.median, 0)
    const what = onDiskMs > roundTripMs.median ? 'the WAL to reach the disk' : 'the way there and back'
    lines.push(`A lone caller waits for ${what}: at most ${perSecond(1000 / commitMs.median)} commits a second here.`)
  } else lines.push('This role may not create a schema, so there is nothing to compare with.')
  const told: Readonly<Record<Bound, string>> = {
    commit: 'commit: the answer comes after the WAL is on disk',
    'round trip': 'round trip: the network',
    'client CPU': 'client CPU: the measuring process is busy; more processes go further',
    server: 'server: its processors, or sessions that wait for each other (commits that notify do)',
  }
  const bounds = new Set(figures.map(({ boundBy }) => boundBy).filter((bound) => bound !== null))
  for (const bound of bounds) lines.push(`Bound by ${told[bound]}.`)
  if (figures.some(({ bare }) => bare !== null))
    lines.push(
      `Bare SQL: INSERTs into a table with one index, over as many connections (${options.connections}); for latency a commit.`,
    )
  return lines
}

/** Lines of at most so many columns. */
function wrap(words: readonly string[], columns: number, separator = '  '): string[] {
  const lines: string[] = []
  for (const word of words) {
    const last = lines.at(-1)
    if (last !== undefined && last.length + separator.length + word.length <= columns)
      lines[lines.length - 1] = last + separator + word
    else lines.push(word)
  }
  return lines
}
