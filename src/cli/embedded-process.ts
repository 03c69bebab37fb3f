/**
 * The child processes of an embedded server, and the ports they listen on.
 */
import { type ChildProcess, spawn } from 'node:child_process'
import { randomInt } from 'node:crypto'
import { createServer, type Socket } from 'node:net'
import { createInterface } from 'node:readline'
import type { ServerUser } from './embedded-user.js'

/** A started binary. `drained` follows `ended` when its output has been read, which its own children can hold up. */
export type Run = { readonly child: ChildProcess; readonly ended: Promise<void>; readonly drained: Promise<void> }

const stopDeadlineMs = 10_000

/** Runs a binary as that user, detached: Ctrl-C in the owner's terminal is the owner's to handle. */
export function runAs(
  user: ServerUser | undefined,
  file: string,
  args: readonly string[],
  cwd: string,
  onLine: (line: string) => void,
): Run {
  // A clean environment: PGDATA, PGPORT and a foreign locale would change what the server does.
  const env = { PATH: process.env['PATH'], LC_ALL: 'C', TZ: process.env['TZ'] }
  const child = spawn(file, args, { ...user, env, cwd, detached: true, stdio: ['ignore', 'ignore', 'pipe'] })
  createInterface({ input: child.stderr }).on('line', onLine)
  const event = (name: string) =>
    new Promise<void>((resolve) => {
      child.once(name, () => resolve())
      child.once('error', () => resolve())
    })
  child.once('error', (error) => onLine(`${file}: ${error.message}`))
  return { child, ended: event('exit'), drained: event('close') }
}

export function isRunning({ child }: Run): boolean {
  return child.pid !== undefined && child.exitCode === null && child.signalCode === null
}

/** Signals the process and waits until it is gone, with SIGKILL after 10 s. */
export async function end(run: Run, signal: 'SIGINT' | 'SIGKILL'): Promise<void> {
  if (!isRunning(run)) return
  run.child.ref()
  const timer = setTimeout(() => run.child.kill('SIGKILL'), stopDeadlineMs)
  run.child.kill(signal)
  await run.ended
  clearTimeout(timer)
}

/** A forgotten server must not keep its owner's process from ending. */
export function letOwnerExit({ child }: Run): void {
  child.unref()
  ;(child.stderr as Socket).unref()
}

/** A port below the range from which systems pick the ports of outgoing connections. */
export async function freePort(): Promise<number> {
  for (let attempt = 0; attempt < 100; attempt++) {
    const port = randomInt(20_000, 32_768)
    if (await isFree(port)) return port
  }
  throw new Error('Found no free port from 20000 to 32767 on 127.0.0.1.')
}

export function isFree(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const probe = createServer()
    probe.once('error', () => resolve(false))
    probe.listen({ port, host: '127.0.0.1', exclusive: true }, () => probe.close(() => resolve(true)))
  })
}
