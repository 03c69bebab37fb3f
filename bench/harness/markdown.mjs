// The report for people: for each scenario and variant a table, systems down and figures across. A figure is the median of
// the rounds with the lowest and the highest; a ratio is the median of the ratios of the rounds.
import { median } from './figures.mjs'
import { metrics } from './metrics.mjs'

/**
 * @typedef {import('./rounds.mjs').Measured} Measured
 * @typedef {import('./rounds.mjs').Row} Row
 * @typedef {Awaited<ReturnType<typeof import('./interleave.mjs').runAll>> & {
 *   startedAt: string, minutes: number, isQuick: boolean, rounds: number,
 *   machine: ReturnType<typeof import('./machine.mjs').machine>, leftOut: readonly { name: string, reason: string }[],
 * }} Result
 */

/** @param {Result} result */
export function markdownOf(result) {
  const { machine, server, redis, systems, scenarios, failures, leftOut } = result
  return [
    '# Benchmark',
    result.isQuick ? '**A quick run: it shows that the benchmark works, and its figures mean nothing.**' : '',
    `${result.startedAt.slice(0, 16).replace('T', ' ')} UTC, ${result.minutes} minutes, ${result.rounds} interleaved round(s); figures are medians (lowest to highest). Commit ${machine.commit}.`,
    `Machine: ${machine.processors} × ${machine.processor}, ${machine.memoryGb} GB, ${machine.system}; Node ${machine.node}.`,
    `PostgreSQL ${server.version}: ${settingsText(server.settings)}; on the same machine, over TCP.`,
    redis ? `Redis ${redis.version}: \`${redis.settings}\`.` : '',
    table(
      ['system', 'version', 'Node', 'gathers single enqueues', 'configuration'],
      Object.entries(systems).map(([name, one]) => [
        name,
        one.version,
        one.node,
        one.coalesces ? 'yes' : 'no',
        [one.settings, one.tuned].filter(Boolean).join('; '),
      ]),
    ),
    ...leftOut.map(({ name, reason }) => `Left out: ${name}, ${reason}`),
    ...scenarios.map(section),
    failures.length > 0 ? '## Failed runs' : '',
    ...failures.map((one) => `- ${one.scenario}, ${one.system}, ${one.variant}: ${one.error}`),
  ]
    .filter((part) => part !== '')
    .join('\n\n')
    .concat('\n')
}

/**
 * The median of the ratios of the rounds that both have, or NaN.
 * @param {Row | undefined} row @param {Row | undefined} other @param {string} metric
 */
export function ratio(row, other, metric) {
  const [own = [], others = []] = [row, other].map((one) => one?.figures[metric]?.rounds)
  return median(own.map((value, i) => value / (others[i] ?? Number.NaN)))
}

/**
 * The best peers of a variant: of all, and where that is none on PostgreSQL, of those that are as well.
 * @param {readonly Row[]} rows @param {string} metric
 */
export function bestPeers(rows, metric) {
  const best = bestPeer(rows, metric)
  const onPostgres = rows.filter(({ needs }) => needs === 'postgres')
  return [best, best?.needs === 'postgres' ? undefined : bestPeer(onPostgres, metric)].filter(
    (row) => row !== undefined,
  )
}

/** @param {number} value @param {number} [digits] */
export function text(value, digits = 0) {
  if (!Number.isFinite(value)) return '–'
  return value.toLocaleString('en', { maximumFractionDigits: digits, minimumFractionDigits: digits })
}

// --- internal ---

/** @param {readonly Row[]} rows @param {string} metric */
function bestPeer(rows, metric) {
  const sign = metrics[metric]?.better === 'lower' ? 1 : -1
  return rows
    .filter((row) => row.kind === 'peer' && !Number.isNaN(row.figures[metric]?.median ?? Number.NaN))
    .toSorted((a, b) => sign * ((a.figures[metric]?.median ?? 0) - (b.figures[metric]?.median ?? 0)))[0]
}

/** @param {Measured} measured */
function section(measured) {
  const variants = [...new Set(measured.rows.map((row) => row.variant))]
  const refused = measured.refused.map(({ system, reason }) => `${system} has no part in it: ${reason}.`)
  return [
    `## ${measured.title}`,
    `${measured.about} (\`${measured.name}\`, ${JSON.stringify(measured.params)}; ${measured.seconds} s)`,
    `![${measured.title}](${measured.name}.svg)`,
    ...refused,
    ...variants.flatMap((variant) => [`### ${variant}`, variantTable(measured, variant)]),
  ].join('\n\n')
}

/** @param {Measured} measured @param {string} variant */
function variantTable({ rows, metrics: names, floors, baseline }, variant) {
  const found = rows.filter((row) => row.variant === variant)
  const [main = ''] = names
  const best = bestPeers(found, main)
  const presentFloors = found.filter((row) => row.kind === 'floor' && floors.includes(row.system))
  const isCompared = baseline !== undefined && variant !== baseline
  const shown = names.filter((name) => found.some((row) => Number.isFinite(row.figures[name]?.median)))
  const header = [
    'system',
    ...shown.map(labelOf),
    ...presentFloors.map((floor) => `${labelOf(main)} to ${floor.system}`),
    ...best.map((peer, i) => `to best peer${i > 0 ? ' on PostgreSQL' : ''} (${peer.system})`),
    ...(isCompared ? shown.slice(0, 2).map((name) => `${labelOf(name)} to ${baseline}`) : []),
  ]
  const body = found.map((row) => [
    row.system,
    ...shown.map((name) => figureText(row, name)),
    ...presentFloors.map((floor) => text(ratio(row, floor, main), 2)),
    ...best.map((peer) => text(ratio(row, peer, main), 2)),
    ...(isCompared
      ? shown.slice(0, 2).map((name) => {
          const base = rows.find((one) => one.system === row.system && one.variant === baseline)
          return text(ratio(row, base, name), 2)
        })
      : []),
  ])
  return table(header, body)
}

/** @param {string} name */
function labelOf(name) {
  const { label = name, unit = '' } = metrics[name] ?? {}
  return unit === '' || unit === '/s' ? label : `${label} (${unit})`
}

/** @param {Row} row @param {string} name */
function figureText(row, name) {
  const figure = row.figures[name]
  if (!figure || !Number.isFinite(figure.median)) return '–'
  const digits = metrics[name]?.digits
  const range = figure.rounds.length > 1 ? ` (${text(figure.min, digits)}–${text(figure.max, digits)})` : ''
  return text(figure.median, digits) + range
}

/** @param {readonly string[]} header @param {readonly (readonly string[])[]} rows */
function table(header, rows) {
  const line = (/** @type {readonly string[]} */ cells) =>
    `| ${cells.map((cell) => cell.replaceAll('|', '\\|')).join(' | ')} |`
  return [line(header), line(header.map((_, i) => (i === 0 ? '---' : '--:'))), ...rows.map(line)].join('\n')
}

/** @param {Readonly<Record<string, string>>} settings */
function settingsText(settings) {
  return Object.entries(settings)
    .map(([name, value]) => `${name} ${value}`)
    .join(', ')
}
