// The question before something is destroyed.
import { createInterface } from 'node:readline/promises'
import { DueqError } from '../errors.js'
import { safeText } from './table.js'

/** Asks on the terminal; goes on where the answer, or `--yes`, is yes. Raises `confirmation.required`, `aborted`. */
export async function confirm(question: string, isYes: boolean | undefined): Promise<void> {
  if (isYes) return
  if (!process.stdin.isTTY || !process.stderr.isTTY)
    throw new DueqError('confirmation.required', `${question} There is no terminal to answer at: pass --yes.`)
  const terminal = createInterface({ input: process.stdin, output: process.stderr })
  const closed = new AbortController()
  terminal.once('close', () => closed.abort())
  try {
    const answer = await terminal.question(`${safeText(question)} [y/N] `, { signal: closed.signal }).catch(() => '')
    if (!/^y(es)?$/i.test(answer.trim())) throw new DueqError('aborted', 'Not confirmed, nothing was done.')
  } finally {
    terminal.close()
  }
}
