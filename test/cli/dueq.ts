// The built `dueq` as a process, on the schema of a test.
import { spawn } from 'node:child_process'
import { fileURLToPath } from 'node:url'
import { inject } from 'vitest'
import { startProcess, type TestProcess } from '../support/processes.js'
import { variant } from '../support/variant.js'

export type Ended = {
  readonly code: number | null
  readonly stdout: string
  readonly stderr: string
  /** stdout as JSON. */
  json<T = Record<string, unknown>>(): T
}

export type Dueq = {
  /** Runs a command to its end, without a terminal. */
  (...args: readonly string[]): Promise<Ended>
  /** The same, with this on stdin. */
  fed(input: string, ...args: readonly string[]): Promise<Ended>
  /** Starts a command that goes on until it is stopped. */
  start(...args: readonly string[]): TestProcess
}

const root = fileURLToPath(new URL('../..', import.meta.url))
const main = 'dist/esm/cli/main.js'

/** `dueq` with these in its environment. On the server of the run, commands go the way that the statements of dueq go. */
export function dueqOn({ url, schema }: { readonly url?: string; readonly schema?: string }): Dueq {
  const isServer = url === inject('databaseUrl')
  const environment = (command = '') => ({
    DATABASE_URL: '',
    // Migrations take a session lock, which is nothing for a pooler.
    DUEQ_DATABASE_URL: (isServer && command !== 'migrate' ? inject('dueqUrl') : url) ?? '',
    DUEQ_LISTEN_URL: (isServer && !variant.isSilent ? url : undefined) ?? '',
    DUEQ_SCHEMA: schema ?? 'dueq',
    NODE_OPTIONS: '',
  })
  const fed = (input: string, ...args: readonly string[]): Promise<Ended> =>
    new Promise((resolve, reject) => {
      const env = { ...process.env, ...environment(args[0]) }
      const child = spawn(process.execPath, [main, ...args], { cwd: root, env })
      const output = { stdout: '', stderr: '' }
      child.stdout.setEncoding('utf8').on('data', (text: string) => (output.stdout += text))
      child.stderr.setEncoding('utf8').on('data', (text: string) => (output.stderr += text))
      child.stdin.on('error', () => {}).end(input)
      child.once('error', reject)
      child.once('close', (code) => resolve({ code, ...output, json: () => JSON.parse(output.stdout) }))
    })
  return Object.assign((...args: readonly string[]) => fed('', ...args), {
    fed,
    start: (...args: readonly string[]) => startProcess(main, args, environment(args[0])),
  })
}
