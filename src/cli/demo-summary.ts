/**
 * What the demonstration says at the end: whether the promises held, in words for people and as JSON.
 */
import { type DemoResult, heldAtLeast } from './demo-run.js'
import { histogram } from './lateness.js'
import type { Screen } from './screen.js'
import { formatDuration, formatMs, table } from './table.js'

/** A redelivery may take this long after the end of the lease: the longest sleep of a consumer. */
const redeliveredWithinMs = 5000

export type DemoSummary = ReturnType<typeof summarizeDemo>

/** Sums a run up. `problems` is empty exactly where every promise held. Durations are in ms. */
export function summarizeDemo(result: DemoResult, messages: number) {
  const { report, lateness, killed, redelivered } = result
  const { count: firstDeliveries, p50, p95, p99, max } = lateness.summary()
  const problems = problemsOf(result, messages)
  return {
    ok: problems.length === 0,
    enqueued: report.enqueued,
    delivered: report.delivered,
    acked: report.acked + report.presumedAcked,
    early: report.early,
    lost: report.lost,
    shared: report.shared,
    firstDeliveries,
    lateness: { p50, p95, p99, max },
    killed: killed
      ? { consumer: killed.name, pid: killed.pid, held: killed.held.length, redelivered: [...redelivered] }
      : null,
    problems,
  }
}

/** Draws the summary for people. */
export function drawSummary(summary: DemoSummary, values: readonly number[], { paint }: Screen): string {
  const { lateness, killed } = summary
  const good = (label: string, isGood: boolean): string =>
    isGood ? paint.green(`✔ ${label}`) : paint.red(`✘ ${label}`)
  const lines = [
    paint.bold('Lateness of first deliveries, by the clock of the database'),
    `  p50 ${formatMs(lateness.p50)}   p95 ${formatMs(lateness.p95)}   p99 ${formatMs(lateness.p99)}   max ${formatMs(lateness.max)}`,
    '',
    ...indent(histogram(values)),
    '',
  ]
  if (killed) {
    lines.push(
      paint.bold(`What ${killed.consumer} held when it was killed, and when each message came again`),
      ...indent(redeliveryTable(killed.redelivered)),
      '',
    )
  }
  const comeAgain = killed?.redelivered.filter(({ redeliveredAfterMs }) => redeliveredAfterMs !== null).length ?? 0
  lines.push(
    `${good(`${summary.delivered} of ${summary.enqueued} delivered`, summary.delivered === summary.enqueued)}   ${good(`early ${summary.early}`, summary.early === 0)}   ${good(`lost ${summary.lost}`, summary.lost === 0)}   ${good(`held by two ${summary.shared}`, summary.shared === 0)}   ${good(`${comeAgain} of ${killed?.held ?? 0} redelivered`, comeAgain > 0 && comeAgain === killed?.held)}`,
    ...summary.problems.map((problem) => paint.red(`  ${problem}`)),
  )
  return lines.join('\n')
}

// --- internal ---

type Redeliveries = NonNullable<DemoSummary['killed']>['redelivered']

/** Two messages a row, so that a good dozen fits a screen. */
function redeliveryTable(redelivered: Redeliveries): string {
  const cells = redelivered.map(({ id, leaseEndedAfterKillMs, redeliveredAfterMs, by }) => [
    id,
    `kill + ${formatDuration(leaseEndedAfterKillMs)}`,
    redeliveredAfterMs === null ? 'never' : `+ ${formatMs(redeliveredAfterMs)}`,
    by ?? '-',
  ])
  const half = Math.ceil(cells.length / 2)
  const headers = ['message', 'lease ended', 'redelivered', 'by']
  const rows = cells.slice(0, half).map((left, row) => [...left, '│', ...(cells[half + row] ?? ['', '', '', ''])])
  const right = ['right', 'right', 'right', 'left'] as const
  return table([...headers, '│', ...headers], rows, { align: [...right, 'left', ...right] })
}

function problemsOf({ report, killed, redelivered, leftOver }: DemoResult, messages: number): string[] {
  const late = redelivered.filter(({ redeliveredAfterMs: ms }) => ms === null || ms < 0 || ms > redeliveredWithinMs)
  return [
    ...report.problems.map(({ rule, message }) => `${rule}: ${message}`),
    ...(report.delivered === messages ? [] : [`${report.delivered} of ${messages} messages were delivered`]),
    ...(leftOver === 0 ? [] : [`${leftOver} messages were left when the time was up`]),
    ...(killed && killed.held.length >= heldAtLeast
      ? []
      : [
          `no consumer held ${heldAtLeast} messages when it was to be killed (${killed?.held.length ?? 'none'}): run again`,
        ]),
    ...late.map(({ id, redeliveredAfterMs: ms }) =>
      ms === null ? `message ${id} never came again` : `message ${id} came again ${formatMs(ms)} after its lease ended`,
    ),
  ]
}

function indent(text: string): string[] {
  return text.split('\n').map((line) => `  ${line}`)
}
