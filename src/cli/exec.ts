// Runs a shell command on a message: the payload on its stdin, its exit code the answer.
//
// Invariants: nothing of the message becomes part of the shell's text, it travels on stdin and in the environment. A
// command runs no longer than its lease: when the signal of the message aborts, it and its children are killed.
import { type ChildProcess, spawn } from 'node:child_process'
import type { Message } from '../message.js'

export type ExecOptions = {
  /** Where stdout of the command goes: 1 (through), or 2 where stdout is for JSON. */
  readonly stdoutTo: 1 | 2
}

/** What the end of a command tells that was no success. Its text, the last 4 kB of stderr, becomes the last error. */
export class CommandFailed extends Error {
  override readonly name = 'CommandFailed'

  constructor(how: string, stderr: string) {
    super(stderr === '' ? how : `${how}: ${stderr}`)
    this.stack = this.message // where in dueq it was made helps nobody
  }
}

const stderrBytes = 3_900 // the database keeps 4000 characters of an error, `how` included
const killAfterMs = 2_000
const closeWithinMs = 1_000

/** Runs the command to its end. Rejects with `CommandFailed` unless its exit code is 0. */
export async function exec(command: string, message: Message, { stdoutTo }: ExecOptions): Promise<void> {
  const { signal } = message
  signal.throwIfAborted()
  const child = spawn(command, {
    shell: true,
    // A group of its own: it can be killed with its children, and Ctrl-C at the terminal reaches dueq only, which lets it finish.
    detached: process.platform !== 'win32',
    stdio: ['pipe', stdoutTo, 'pipe'],
    env: {
      ...process.env,
      DUEQ_ID: message.id,
      DUEQ_ATTEMPT: String(message.attempt),
      DUEQ_QUEUE: message.queue,
      DUEQ_DUE_AT: message.dueAt.toISOString(),
    },
  })
  running.add(child)
  const tail = keepTail(child)
  let timer: NodeJS.Timeout | undefined
  const onAbort = (): void => {
    kill(child, 'SIGTERM')
    timer = setTimeout(() => kill(child, 'SIGKILL'), killAfterMs)
  }
  signal.addEventListener('abort', onAbort, { once: true })
  child.stdin?.on('error', () => {}) // a command need not read its payload
  child.stdin?.end(`${JSON.stringify(message.payload)}\n`)
  try {
    const { code, killedBy } = await ended(child)
    if (code === 0) return
    throw new CommandFailed(killedBy ? `killed by ${killedBy}` : `exit code ${code}`, tail())
  } finally {
    clearTimeout(timer)
    signal.removeEventListener('abort', onAbort)
    if (signal.aborted) kill(child, 'SIGKILL')
    running.delete(child)
  }
}

// --- internal ---

const running = new Set<ChildProcess>()
process.once('exit', () => {
  for (const child of running) kill(child, 'SIGKILL')
})

type End = { readonly code: number | null; readonly killedBy: NodeJS.Signals | null }

/** The end of a process, and of its output; but a grandchild that keeps stderr open is waited for a moment only. */
function ended(child: ChildProcess): Promise<End> {
  return new Promise((resolve, reject) => {
    let timer: NodeJS.Timeout | undefined
    const done = (code: number | null, killedBy: NodeJS.Signals | null): void => {
      clearTimeout(timer)
      child.stderr?.destroy()
      resolve({ code, killedBy })
    }
    child.once('error', reject)
    child.once('close', done)
    child.once('exit', (code, killedBy) => {
      timer = setTimeout(() => done(code, killedBy), closeWithinMs)
    })
  })
}

/** Passes stderr through and keeps its end. */
function keepTail(child: ChildProcess): () => string {
  let tail = Buffer.alloc(0)
  child.stderr?.on('data', (chunk: Buffer) => {
    process.stderr.write(chunk)
    tail = Buffer.concat([tail, chunk]).subarray(-stderrBytes)
  })
  // The cut may be inside a character, whose rest is then no text.
  return () =>
    tail
      .toString('utf8')
      .replace(/^\uFFFD+/, '')
      .trim()
}

function kill(child: ChildProcess, signal: NodeJS.Signals): void {
  try {
    if (process.platform === 'win32' || child.pid === undefined) child.kill(signal)
    else process.kill(-child.pid, signal)
  } catch {
    // gone already
  }
}
