/**
 * What a torture run comes to: a summary for programs, and the same for people.
 */
import { checkRules } from '../checker.js'
import type { Rule } from '../findings.js'
import type { Screen } from '../screen.js'
import { formatDuration, formatMs, table } from '../table.js'
import type { TortureOptions, TortureResult } from './run.js'
import { tellStory } from './told.js'

export type TortureSummary = ReturnType<typeof summarizeTorture>

/** How many stories are told. */
const mostStories = 3

/** Sums a run up. `ok` exactly where no rule was broken, nothing was left over and no process ended by itself. */
export function summarizeTorture(result: TortureResult, options: Pick<TortureOptions, 'seed' | 'forMs'>) {
  const { report, counts, liveCount, deadCount, failures, spans } = result
  const rules = Object.fromEntries(checkRules.map(({ name }) => [name, report[name]])) as Record<Rule, number>
  const { duplicates, explainedDuplicates, duplicatesAfter } = report
  return {
    ok: report.ok && liveCount === 0 && failures.length === 0,
    ...{ seed: options.seed, where: result.description, isInterrupted: result.isInterrupted },
    seconds: result.loadMs / 1000,
    drainSeconds: result.drainMs / 1000,
    messages: {
      enqueued: report.committed,
      perSecond: Math.round(report.committed / (result.loadMs / 1000)),
      unknown: report.unknown,
      rolledBack: counts.rolledBack,
      delivered: report.delivered,
      acked: report.acked + report.presumedAcked,
      dead: deadCount,
      left: liveCount,
    },
    claims: report.claims,
    duplicates: { count: duplicates, explained: explainedDuplicates, ...duplicatesAfter },
    rules,
    faults: result.tallies.map(({ name, effect, count, effective, sum, failed }) => {
      return { name, count, effective, effect, sum, failed }
    }),
    notAvailable: result.missing,
    effects: {
      lapses: duplicatesAfter.lapsed,
      refusedSettles: report.refused,
      leasesLost: counts.leasesLost,
      statementsRepeated: counts.errors,
      connections: result.connectionCount,
      listensLost: counts.listensLost,
      crashes: result.crashCount,
    },
    quiet: result.quiet,
    failures,
    stories: report.problems.slice(0, mostStories).map((problem) => tellStory(problem, spans)),
    journals: result.directory,
  }
}

/** Draws the summary for people; `repeat` is the command that makes the same schedule again. */
export function drawTorture(summary: TortureSummary, { paint }: Screen, repeat: string): string {
  const { messages, duplicates, effects, quiet, rules } = summary
  const faults = summary.faults.map(({ name, count, effective, effect, sum, failed }) => [
    ...[name, count, effective, `${sum} ${effect}`],
    failed > 0 ? `${failed} could not begin` : '',
  ])
  const missing = summary.notAvailable.map(({ name, why }) => [name, 0, 0, '-', `not available: ${why}`])
  const verdicts = checkRules.map(({ name, says }) => {
    const count = rules[name]
    return `  ${count === 0 ? paint.green('✔') : paint.red('✘')} ${name.padEnd(13)} ${String(count).padStart(3)}  ${says}`
  })
  const left = messages.left === 0 ? paint.green('✔') : paint.red('✘')
  return [
    paint.bold(`seed ${summary.seed}, ${formatDuration(summary.seconds * 1000)}, ${summary.where}`),
    '',
    table(['fault', 'count', 'effective', 'effect', ''], [...faults, ...missing]),
    '',
    `messages    ${messages.enqueued} enqueued (${messages.perSecond}/s), ${messages.unknown} of unknown outcome, ${messages.rolledBack} rolled back or refused`,
    `            ${messages.delivered} delivered, ${messages.acked} acked, ${messages.dead} dead`,
    `duplicates  ${duplicates.count}, explained ${duplicates.explained}: ${duplicates.lapsed} after a lapse, ${duplicates.retried} after a nack, ${duplicates.released} given back`,
    `effects     ${effects.refusedSettles} settles refused, ${effects.leasesLost} leases lost, ${effects.statementsRepeated} statements repeated, ${effects.listensLost} times not listening, ${effects.connections} connections, ${effects.crashes} crashes of their own`,
    `in quiet    ${quiet.count} deliveries with no fault around them, ${quiet.lateCount} later than the poll interval, the worst by ${formatMs(quiet.worstMs)}`,
    '',
    ...verdicts,
    `  ${left} ${'left over'.padEnd(13)} ${String(messages.left).padStart(3)}  The queue is empty ${formatDuration(summary.drainSeconds * 1000)} after the faults.`,
    ...summary.failures.map((failure) => paint.red(`  ✘ ${failure}`)),
    ...summary.stories.map((story) => `\n${story}`),
    ...(summary.ok ? [] : ['', `journals: ${summary.journals}`, `again, with the same schedule of faults: ${repeat}`]),
  ].join('\n')
}
