// dueq purge: deletes the messages of a queue.
import type { Command } from 'commander'
import { runOn, type SharedOptions, shared, storedQueue } from '../command.js'
import { confirm } from '../confirm.js'
import { count, print, printJson } from '../output.js'

type Options = SharedOptions & { readonly includeLeased?: boolean; readonly yes?: boolean }

export function purgeCommand(program: Command): void {
  const command = program
    .command('purge <queue>')
    .description('delete all messages of a queue that nobody is working on; dead letters stay')
    .option('--include-leased', 'those under a lease too; their consumers lose the lease')
    .option('--yes', 'do not ask')
  shared(command).action((queue: string, options: Options) =>
    runOn(options, async (session) => {
      await storedQueue(session, queue)
      const handle = session.dueq.queue(queue)
      const { delayed, ready, leased, lapsed } = await handle.stats()
      const doomed = delayed + ready + lapsed + (options.includeLeased ? leased : 0)
      await confirm(`Delete ${count(doomed, 'message')} of queue "${queue}" for good?`, options.yes)
      const purged = await handle.purge({ includeLeased: options.includeLeased })
      if (session.isJson) printJson({ queue, purged })
      else print(`Deleted ${count(purged, 'message')} of queue "${queue}".`)
    }),
  )
}
