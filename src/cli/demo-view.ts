/**
 * How the demonstration shows itself while it runs: a frame redrawn in place on a terminal, a line a second elsewhere.
 * At most 100 columns.
 */
import type { QueueStats } from '../statements-operate.js'
import type { DemoProgress, DemoView } from './demo-run.js'
import type { Screen } from './screen.js'
import { formatMs } from './table.js'

const barColumns = 52

/** Makes the view of a run. Notes are events: on a terminal they stay below the frame. */
export function createDemoView(
  screen: Screen,
  { messages, seconds }: { readonly messages: number; readonly seconds: number },
): DemoView {
  const { paint, isLive } = screen
  const startedAt = performance.now()
  const notes: string[] = []
  let last: DemoProgress | undefined
  let lastLineAt = Number.NEGATIVE_INFINITY

  const draw = (): void => {
    if (last) screen.frame([...frame(last), '', ...notes.slice(-8), ''])
  }
  const frame = (progress: DemoProgress): string[] => {
    const { stats, members, lastSecond, orphaned } = progress
    const acked = messages - liveCount(stats)
    const filled = Math.min(Math.round((acked / messages) * barColumns), barColumns)
    const most = Math.max(...members.map(({ held }) => held), orphaned, 16)
    return [
      '',
      `  ${paint.bold(clock(progress.elapsedMs))} of ${seconds} s  ${paint.green('█'.repeat(filled))}${paint.dim('░'.repeat(barColumns - filled))}  ${acked} / ${messages} acked`,
      '',
      `  delayed ${cell(stats.delayed)}   ready ${cell(stats.ready)}   leased ${cell(stats.leased)}   lapsed ${cell(stats.lapsed)}   dead ${cell(stats.dead)}`,
      '',
      ...members.map((member) => {
        const held = member.state === 'killed' ? orphaned : member.held
        const bar = '■'.repeat(Math.round((held / most) * 32)).padEnd(32)
        const isDown = member.state === 'killed'
        return `  ${member.name.padEnd(12)} ${isDown ? paint.red('killed ') : paint.green('running')}  ${isDown ? paint.red(bar) : paint.cyan(bar)}  holds ${cell(held)}   delivered ${cell(member.delivered)}`
      }),
      '',
      `  lateness in the last second   p50 ${formatMs(lastSecond.p50).padStart(8)}   p99 ${formatMs(lastSecond.p99).padStart(8)}`,
    ]
  }
  const line = ({ elapsedMs, stats, members, lastSecond, orphaned }: DemoProgress): string =>
    [
      clock(elapsedMs),
      `${messages - liveCount(stats)}/${messages} acked`.padStart(16),
      `delayed ${stats.delayed}, ready ${stats.ready}, leased ${stats.leased}, lapsed ${stats.lapsed}`.padEnd(45),
      `holds ${members.map(({ state, held }) => (state === 'killed' ? `†${orphaned}` : held)).join(' ')}`.padEnd(14),
      `p50 ${formatMs(lastSecond.p50)} p99 ${formatMs(lastSecond.p99)}`,
    ].join('  ')

  return {
    everyMs: isLive ? 150 : 250,
    note(text) {
      const at = last ? clock(last.elapsedMs) : clock(performance.now() - startedAt)
      const isCrash = text.startsWith('kill')
      if (last && isLive) notes.push(`  ${at}  ${isCrash ? paint.red(text) : text}`)
      else screen.print(last ? `${at}  ${text}` : paint.dim(text))
      draw()
    },
    progress(progress) {
      last = progress
      draw()
      if (isLive || performance.now() - lastLineAt < 990) return
      lastLineAt = performance.now()
      screen.print(line(progress))
    },
  }
}

// --- internal ---

function liveCount({ delayed, ready, leased, lapsed, dead }: QueueStats): number {
  return delayed + ready + leased + lapsed + dead
}

function clock(ms: number): string {
  return `${(ms / 1000).toFixed(1)} s`.padStart(7)
}

function cell(count: number): string {
  return String(count).padStart(4)
}
