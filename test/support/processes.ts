/**
 * Node processes under a test: started, listened to line by line, killed.
 *
 * They speak NDJSON on stdout. Whatever still runs when the test process ends is killed with it.
 */
import { type ChildProcess, spawn } from 'node:child_process'
import { createInterface } from 'node:readline'
import { fileURLToPath } from 'node:url'

/** A line of a process: its JSON value, or the text itself where it is no JSON. */
export type Line = unknown

export type TestProcess = {
  readonly pid: number
  /** All lines so far. */
  readonly lines: readonly Line[]
  /** Everything written to stderr so far. */
  readonly stderr: string
  /** How it ended. */
  readonly exited: Promise<{ readonly code: number | null; readonly signal: NodeJS.Signals | null }>
  /** Resolves with the first line, earlier ones included, that the predicate accepts. */
  waitForLine<T = Line>(predicate: (line: T) => boolean, deadlineMs?: number): Promise<T>
  /** Writes a line to the process's stdin. */
  send(line: string): void
  /** Closes stdout, as a reader does that has died. */
  stopReading(): void
  /** Sends the signal and waits for the end. */
  kill(signal?: NodeJS.Signals): Promise<void>
}

const running = new Set<ChildProcess>()
process.once('exit', killAll)

/** Starts `node <file> <args>`; the file is a path from the repository's root, or an absolute one. */
export function startProcess(
  file: string,
  args: readonly string[] = [],
  env: Readonly<Record<string, string>> = {},
): TestProcess {
  const root = fileURLToPath(new URL('../..', import.meta.url))
  const child = spawn(process.execPath, [file, ...args], {
    cwd: root,
    // NODE_OPTIONS of the test runner is not meant for the processes under test.
    env: { ...process.env, NODE_OPTIONS: '', ...env },
    stdio: ['pipe', 'pipe', 'pipe'],
  })
  running.add(child)
  child.stdin.on('error', () => {})

  const lines: Line[] = []
  const waiting = new Set<() => void>()
  const wake = () => {
    for (const check of [...waiting]) check()
  }
  let stderr = ''
  child.stderr.on('data', (chunk: Buffer) => {
    stderr += chunk.toString()
  })
  createInterface({ input: child.stdout }).on('line', (text) => {
    lines.push(parse(text))
    wake()
  })
  let ended: { code: number | null; signal: NodeJS.Signals | null } | undefined
  const exited = new Promise<{ code: number | null; signal: NodeJS.Signals | null }>((resolve) => {
    const finish = (code: number | null, signal: NodeJS.Signals | null) => {
      running.delete(child)
      ended = { code, signal }
      resolve(ended)
      wake()
    }
    child.once('close', finish)
    child.once('error', (error) => {
      stderr += error.message
      finish(null, null)
    })
  })

  return {
    pid: child.pid ?? -1,
    lines,
    get stderr() {
      return stderr
    },
    exited,
    waitForLine<T>(predicate: (line: T) => boolean, deadlineMs = 10_000) {
      return new Promise<T>((resolve, reject) => {
        const fail = (why: string) =>
          reject(new Error(`${file} ${why}. Lines: ${JSON.stringify(lines.slice(-10))}\n${stderr.slice(-2_000)}`))
        const settle = (action: () => void) => {
          clearTimeout(timer)
          waiting.delete(check)
          action()
        }
        const check = () => {
          const found = lines.findIndex((line) => predicate(line as T))
          if (found >= 0) settle(() => resolve(lines[found] as T))
          else if (ended) settle(() => fail(`ended (${ended?.code ?? ended?.signal}) without the expected line`))
        }
        const timer = setTimeout(() => settle(() => fail(`printed no such line in ${deadlineMs} ms`)), deadlineMs)
        waiting.add(check)
        check()
      })
    },
    send: (line) => {
      child.stdin.write(`${line}\n`)
    },
    stopReading: () => void child.stdout.destroy(),
    async kill(signal = 'SIGKILL') {
      child.kill(signal)
      await exited
    },
  }
}

/** Kills what still runs, for `afterAll`. */
export function killAll(): void {
  for (const child of running) child.kill('SIGKILL')
}

function parse(text: string): Line {
  try {
    return JSON.parse(text)
  } catch {
    return text
  }
}
