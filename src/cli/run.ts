/**
 * What the commands share that bring their own database: where it is, if anywhere, and what Ctrl-C does.
 */
import { sourceOf } from '../connect-options.js'
import { isDueqError } from '../errors.js'

/** The URL given or in the environment, checked; undefined where there is none, and a server of our own is wanted. */
export function optionalUrl(given: string | undefined): string | undefined {
  const url = given ?? (process.env['DUEQ_DATABASE_URL'] || process.env['DATABASE_URL'] || undefined)
  if (url !== undefined) sourceOf({ url })
  return url
}

/**
 * Runs something that cleans up behind itself when the signal aborts. The first Ctrl-C (or SIGTERM) aborts and leaves
 * exit code 130; further ones are ignored, because cleaning up is already what happens.
 */
export async function withInterrupt(work: (signal: AbortSignal) => Promise<void>): Promise<void> {
  const controller = new AbortController()
  const interrupt = (): void => controller.abort(new Error('interrupted'))
  for (const name of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.on(name, interrupt)
  try {
    await work(controller.signal)
  } catch (error) {
    // Only what could not be cleaned up has a code by then.
    if (!controller.signal.aborted || isDueqError(error)) throw error
    process.stderr.write('dueq: interrupted; everything is cleaned up\n')
    process.exitCode = 130
  } finally {
    for (const name of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.off(name, interrupt)
  }
}
