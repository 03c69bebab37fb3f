// dueq peek: looks at live messages without touching them.
import type { Command } from 'commander'
import { DueqError } from '../../errors.js'
import { wholeNumber } from '../../options.js'
import { idOption, numberOption, runOn, type SharedOptions, shared, storedQueue } from '../command.js'
import { card, preview, print, printJson, shortInstant, tableOr } from '../output.js'

type Options = SharedOptions & { readonly max: number; readonly id?: string }

export function peekCommand(program: Command): void {
  const command = program
    .command('peek <queue>')
    .description('look at messages in the order of delivery, without claiming them')
    .option('--max <n>', 'at most so many, 1 to 10000', numberOption, 20)
    .option('--id <id>', 'one message, with everything about it', idOption)
  shared(command).action((queue: string, options: Options) =>
    runOn(options, async (session) => {
      const max = wholeNumber('max', options.max, 1, 10_000)
      await storedQueue(session, queue)
      const messages = await session.statements.peek(session.query, queue, max, options.id)
      if (options.id === undefined) {
        if (session.isJson) return printJson(messages)
        const headers = ['id', 'state', 'priority', 'due', 'ready', 'attempt', 'failures', 'payload']
        const rows = messages.map((m) => [
          m.id,
          m.state,
          m.priority,
          shortInstant(m.dueAt),
          shortInstant(m.readyAt),
          m.attempt,
          m.failures,
          preview(m.payload),
        ])
        return print(tableOr(`Queue "${queue}" has no messages.`, headers, rows))
      }
      const [message] = messages
      if (!message) throw new DueqError('message.not_found', `Queue "${queue}" has no live message ${options.id}.`)
      if (session.isJson) return printJson(message)
      print(
        card({
          id: message.id,
          state: message.state,
          priority: message.priority,
          due: message.dueAt,
          ready: message.readyAt,
          attempt: message.attempt,
          failures: message.failures,
          'leased by': message.leasedBy,
          payload: JSON.stringify(message.payload),
          headers: message.headers === null ? null : JSON.stringify(message.headers),
          'last error': message.lastError,
        }),
      )
    }),
  )
}
