// What a soak run comes to, as Markdown: what was run, the table, and the verdicts.

import { draw } from './chart.mjs'
import { judge, judgedFrom, panelsOf } from './figures.mjs'

/** The picture of a run. */
export function pictureOf(result) {
  const { samples, seconds, options, machine, serverKills, torture } = result
  const panels = panelsOf(samples).map(({ lines, ...panel }) => ({
    ...panel,
    lines: lines.map(({ label, isFaint, of }) => ({
      ...{ label, isFaint },
      points: samples.map((sample) => [sample.seconds, of(sample)]),
    })),
  }))
  const faultCount = torture.faults.reduce((total, { count }) => total + count, 0)
  const title = `${duration(seconds)} at ${options.rate.toLocaleString('en')} messages a second, ${faultCount} faults`
  const caption = `PostgreSQL ${machine.postgres}, autovacuum as it comes; ${options.producers} producers, ${options.consumers} consumers; dashed: kill -9 of the server`
  return draw({ title, caption, seconds, marks: serverKills, panels })
}

/** The result as Markdown; also what the command prints. */
export function pageOf(result) {
  const { options, machine, torture, seconds, samples, autovacuums, startedAt } = result
  const { rows, isJudged, isFlat } = judge(result)
  const { messages, duplicates, effects, rules } = torture
  const faults = torture.faults.map(({ name, count }) => `${count} × ${name}`).join(', ')
  const broken = Object.entries(rules).filter(([, count]) => count > 0)
  const verdict = isFlat === null ? `not judged: shorter than ${judgedFrom / 60} minutes` : isFlat ? 'yes' : '**no**'
  return `${startedAt.slice(0, 10)}: ${duration(seconds)} at ${options.rate} messages a second, ${options.producers} producers and ${options.consumers} consumers, a sample every ${options.everyMs / 1000} s (${samples.length}), seed ${options.seed}.
Machine: ${machine.processors} processors, ${machine.memoryGb} GB, ${machine.system}; PostgreSQL ${machine.postgres} on the same machine with its own defaults, also of autovacuum (which finished ${autovacuums} times on the table of messages); Node ${machine.node}; commit ${machine.commit}.

* Faults: ${faults}.
* Messages: ${messages.enqueued} enqueued (${messages.perSecond} a second over the run), ${messages.unknown} of unknown outcome, ${messages.delivered} delivered, ${messages.acked} acked, ${messages.dead} dead letters, ${messages.left} left over.
* Delivered again: ${duplicates.count}, of which explained ${duplicates.explained}; ${effects.refusedSettles} settles refused, ${effects.leasesLost} leases lost, ${effects.crashes} crashes of their own.
* Rules of torture: ${broken.length === 0 ? `${Object.keys(rules).length} of ${Object.keys(rules).length} hold (${Object.keys(rules).join(' 0, ')} 0)` : `**broken: ${broken.map(([name, count]) => `${name} ${count}`).join(', ')}**`}.${torture.failures.length === 0 ? '' : `\n* Failures: ${torture.failures.join('; ')}`}
* Flat: ${verdict}.

| figure | unit | first third | second third | last third | slope per hour | grown by | may grow by | flat |
|---|---|--:|--:|--:|--:|--:|--:|---|
${rows.map((row) => rowOf(row, isJudged)).join('\n')}
`
}

// --- internal ---

function rowOf({ figure, unit, thirds, perHour, verdict }, isJudged) {
  const cells = [...thirds, perHour, verdict?.grown ?? Number.NaN, verdict?.allowed ?? Number.NaN].map(short)
  const flat = !isJudged || !verdict ? '' : verdict.isFlat ? 'yes' : '**no**'
  return `| ${[figure, unit.replace(/[;,].*/, ''), ...cells, flat].join(' | ')} |`
}

/** Three digits that count; nothing where there is no figure. */
function short(value) {
  if (!Number.isFinite(value)) return ''
  const rounded = Number(value.toPrecision(3))
  return Math.abs(rounded) < 0.001 ? '0' : rounded.toLocaleString('en', { maximumFractionDigits: 3 })
}

function duration(seconds) {
  return seconds < 90 ? `${Math.round(seconds)} s` : `${Number((seconds / 60).toFixed(1))} minutes`
}
