// dueq doctor: looks for what makes queues slow, late or unsafe, from this host and inside the database.
import type { Command } from 'commander'
import { connect } from '../../connect.js'
import type { Check } from '../../statements-doctor.js'
import { run, type SharedOptions, shared } from '../command.js'
import { withoutPasswords } from '../exit-codes.js'
import { print, printJson } from '../output.js'
import { safeText, table } from '../table.js'

export function doctorCommand(program: Command): void {
  const command = program
    .command('doctor')
    .description('look for what makes queues slow, late or unsafe; exits with 1 where a check fails')
  shared(command).action((options: SharedOptions) =>
    run(options, async () => {
      const { url, listenUrl, schema } = options
      // Unprepared, so that the CLI works through a pooler in transaction mode without being told.
      const dueq = connect({ url, listenUrl, schema, prepare: false, onEvent: () => {} })
      try {
        const checks = (await dueq.doctor()).map((check) => ({ ...check, detail: withoutPasswords(check.detail) }))
        if (checks.some(({ ok }) => !ok)) process.exitCode = 1
        if (options.json) printJson({ ok: checks.every(({ ok }) => ok), checks })
        else print(report(checks))
      } finally {
        await dueq.close()
      }
    }),
  )
}

// --- internal ---

function report(checks: readonly Check[]): string {
  const rows = checks.map(({ check, ok, detail }) => [ok ? 'ok' : 'FAILS', check, detail])
  const advice = checks.flatMap(({ check, ok, advice }) => (ok || !advice ? [] : [`${check}: ${safeText(advice)}`]))
  return [table(['', 'check', 'found'], rows), ...(advice.length > 0 ? ['', ...advice] : [])].join('\n')
}
