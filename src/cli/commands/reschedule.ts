// dueq reschedule: gives one message another due time.
import type { Command } from 'commander'
import { DueqError } from '../../errors.js'
import type { Duration } from '../../options.js'
import { durationOption, idOption, runOn, type SharedOptions, shared } from '../command.js'
import { print, printJson } from '../output.js'

type Options = SharedOptions & { readonly delay?: Duration; readonly at?: string }

export function rescheduleCommand(program: Command): void {
  const command = program
    .command('reschedule')
    .description('give a message that nobody is working on another due time')
    .argument('<id>', 'its id', idOption)
    .option('--delay <duration>', 'due so long from now', durationOption)
    .option('--at <instant>', 'due at this instant, such as 2027-01-31T09:00:00Z')
  shared(command).action((id: string, options: Options) =>
    runOn(options, async ({ dueq, isJson }) => {
      const { delay, at } = options
      if ((delay === undefined) === (at === undefined)) throw new DueqError('usage', 'Give one of --delay and --at.')
      await dueq.reschedule(id, delay === undefined ? { at: at! } : { delay })
      if (isJson) printJson({ id, rescheduled: true })
      else print(`Message ${id} rescheduled.`)
    }),
  )
}
