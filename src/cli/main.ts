#!/usr/bin/env node
// The command line of dueq: assembles the commands and parses what was typed. A wrong word ends with exit code 2 and an
// error of code `usage`; everything behind that is up to the commands.
import { createRequire } from 'node:module'
import { Command } from 'commander'
import { benchCommand } from './commands/bench.js'
import { cancelCommand } from './commands/cancel.js'
import { consumeCommand } from './commands/consume.js'
import { deadCommand } from './commands/dead.js'
import { demoCommand } from './commands/demo.js'
import { doctorCommand } from './commands/doctor.js'
import { enqueueCommand } from './commands/enqueue.js'
import { migrateCommand } from './commands/migrate.js'
import { peekCommand } from './commands/peek.js'
import { purgeCommand } from './commands/purge.js'
import { queueCommand } from './commands/queue.js'
import { replayCommand } from './commands/replay.js'
import { rescheduleCommand } from './commands/reschedule.js'
import { rolesCommand } from './commands/roles.js'
import { statsCommand } from './commands/stats.js'
import { tortureCommand } from './commands/torture.js'
import { exitCodesHelp, fail } from './exit-codes.js'

const { version } = createRequire(import.meta.url)('dueq/package.json') as { version: string }

const program = new Command('dueq')
  .description('A delay queue inside the PostgreSQL you already run.')
  .version(version)
  .exitOverride()
  .configureOutput({ outputError: () => {} }) // printed by `fail`
  .addHelpText('after', exitCodesHelp)

for (const add of [
  migrateCommand,
  queueCommand,
  enqueueCommand,
  consumeCommand,
  statsCommand,
  peekCommand,
  deadCommand,
  purgeCommand,
  cancelCommand,
  rescheduleCommand,
  doctorCommand,
  rolesCommand,
  demoCommand,
  replayCommand,
  benchCommand,
  tortureCommand,
])
  add(program)

// A reader that has seen enough (`dueq peek … | head`) is no error. A command that holds messages listens too, to end in order.
process.stdout.on('error', (error: NodeJS.ErrnoException) => {
  if (error.code !== 'EPIPE') throw error
  if (process.stdout.listenerCount('error') === 1) process.exit()
})
// Nobody is left to be told; what the command does matters more.
process.stderr.on('error', () => {})

try {
  await program.parseAsync()
} catch (error) {
  fail(error, process.argv.includes('--json'))
}
