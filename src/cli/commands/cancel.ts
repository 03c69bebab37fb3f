// dueq cancel: removes one message.
import type { Command } from 'commander'
import { idOption, runOn, type SharedOptions, shared } from '../command.js'
import { print, printJson } from '../output.js'

export function cancelCommand(program: Command): void {
  const command = program
    .command('cancel')
    .description('remove a message that nobody is working on')
    .argument('<id>', 'its id', idOption)
  shared(command).action((id: string, options: SharedOptions) =>
    runOn(options, async ({ dueq, isJson }) => {
      await dueq.cancel(id)
      if (isJson) printJson({ id, cancelled: true })
      else print(`Message ${id} cancelled.`)
    }),
  )
}
