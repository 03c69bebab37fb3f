/**
 * The command line gets hostile words: parsed only, run within this process on a real database, and as processes. It ends
 * with a documented exit code, tells what is wrong in one line without commands for the terminal, and `--json` is JSON.
 */
import { Command } from 'commander'
import fc from 'fast-check'
import { afterAll, beforeAll, describe, expect } from 'vitest'
import { cancelCommand } from '../../src/cli/commands/cancel.js'
import { consumeCommand } from '../../src/cli/commands/consume.js'
import { deadCommand } from '../../src/cli/commands/dead.js'
import { demoCommand } from '../../src/cli/commands/demo.js'
import { doctorCommand } from '../../src/cli/commands/doctor.js'
import { enqueueCommand } from '../../src/cli/commands/enqueue.js'
import { migrateCommand } from '../../src/cli/commands/migrate.js'
import { peekCommand } from '../../src/cli/commands/peek.js'
import { purgeCommand } from '../../src/cli/commands/purge.js'
import { queueCommand } from '../../src/cli/commands/queue.js'
import { replayCommand } from '../../src/cli/commands/replay.js'
import { rescheduleCommand } from '../../src/cli/commands/reschedule.js'
import { statsCommand } from '../../src/cli/commands/stats.js'
import { fail } from '../../src/cli/exit-codes.js'
import { dueqOn } from '../cli/dueq.js'
import { startClient, type TestClient } from '../client/client.js'
import { expectQuietProcess, fuzz } from './cases.js'
import { printable, text } from './hostile.js'
import { codes } from './verdict.js'

/** Those that end by themselves, and bring no server of their own. */
const operating = [queueCommand, enqueueCommand, statsCommand, peekCommand, deadCommand, purgeCommand, cancelCommand, rescheduleCommand, migrateCommand] // biome-ignore format: a list
const all = [...operating, consumeCommand, doctorCommand, demoCommand, replayCommand]

let test: TestClient
const environment = ['DUEQ_DATABASE_URL', 'DUEQ_SCHEMA', 'DATABASE_URL'] as const
const outside = environment.map((name) => [name, process.env[name]] as const)
beforeAll(async () => {
  test = await startClient()
  const queue = await test.queue({ lease: '12h' })
  await queue.enqueueMany([
    { payload: '\u001b[31m\u009b31m\u202e' },
    { payload: { deep: [1] }, headers: { '\u0007': 1 } },
  ])
  await test.sql.unsafe(`select ${test.schema}.enqueue('q1', '1', at => '0044-03-15 BC')`)
  const [message] = await queue.dequeue()
  await message!.deadLetter('\u001b]0;title\u0007', '\u001b[2J')
  Object.assign(process.env, { DUEQ_DATABASE_URL: test.url, DUEQ_SCHEMA: test.schema })
})
afterAll(async () => {
  for (const [name, value] of outside) if (value === undefined) delete process.env[name]
  Object.assign(process.env, Object.fromEntries(outside.filter(([, value]) => value !== undefined)))
  process.exitCode = 0
  await test.close()
})
expectQuietProcess()

const verbs = ['migrate', 'queue', 'enqueue', 'consume', 'stats', 'peek', 'dead', 'purge', 'cancel', 'reschedule', 'doctor', 'demo', 'replay', 'help'] // biome-ignore format: a list
const under = [
  'create',
  'list',
  'show',
  'pause',
  'resume',
  'drop',
  'redrive',
  'purge',
  'status',
  'up',
  'q1',
  'q1',
  '1',
  '2',
]
const flags = ['--json', '--json', '--delay', '--at', '--priority', '--dedup-key', '--headers', '--from-line', '--max', '--id', '--lease', '--max-attempts', '--backoff-base', '--backoff-max', '--poll-interval', '--yes', '--force', '--include-leased', '--dry-run', '--sql', '--schema', '--exec', '--concurrency', '--drain', '--deadline', '--in', '--speed', '--mode', '--consumers', '--format', '--keep', '--messages', '--seconds', '--help', '--version', '-h', '--', '-'] // biome-ignore format: a list
const good = ['30s', '0', '5', '-5', '2027-01-31T09:00:00Z', '{"a":1}', '[]', '1e5', '"text"', '20', '"\u001b[31m"']
const word = fc.oneof(
  { weight: 3, arbitrary: fc.constantFrom(...flags) },
  { weight: 3, arbitrary: fc.constantFrom(...good, ...under) },
  { weight: 2, arbitrary: text },
)
const begun = ['peek q1', 'dead list', 'dead show 2', 'dead redrive q1', 'dead purge q1', 'queue show q1', 'queue list', 'queue create', 'queue create q1', 'queue drop q1', 'queue pause q1', 'queue resume', 'stats', 'stats q1', 'enqueue q1', 'enqueue q1 1', 'cancel', 'reschedule 1', 'purge q1', 'migrate status', 'consume q1', 'replay', 'demo'] // biome-ignore format: a list
const beginning = fc.oneof(
  { weight: 5, arbitrary: fc.constantFrom(...begun).map((all) => all.split(' ')) },
  { weight: 2, arbitrary: fc.constantFrom(...verbs).map((verb) => [verb]) },
  { weight: 1, arbitrary: text.map((verb) => [verb]) },
)
const words = fc.tuple(beginning, fc.array(word, { maxLength: 5 })).map((parts) => parts.flat())

// biome-ignore lint/suspicious/noControlCharactersInRegex: it is them that must not be there
const unsafe = /[\u0000-\u0009\u000b-\u001f\u007f-\u009f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069]/

type Ended = { readonly code: number | string | null | undefined; readonly stdout: string; readonly stderr: string }

function expectDocumented({ code, stdout, stderr }: Ended, argv: readonly string[], allowed: readonly number[]): void {
  expect(allowed, `${stdout}${stderr}`).toContain(code)
  expect(stderr).not.toMatch(unsafe)
  expect(stdout).not.toMatch(unsafe)
  const isHelp = argv.some((one) => /^(-h|--help|help|--version|-V)$/.test(one)) || /^Usage: /.test(stdout + stderr)
  if (isHelp) return
  if (code !== 0) {
    const shown = argv.includes('--json') ? JSON.parse(stdout).error : undefined
    const [, message, last] = /^dueq: (.*) \[([a-z._]+)\]\n$/s.exec(stderr.split(/(?<=\n)/).at(-1) ?? '') ?? []
    expect(codes).toContain(shown?.code ?? last)
    expect((shown?.message ?? message).trim().split(' ').length).toBeGreaterThanOrEqual(3)
    expect(shown?.message ?? message).not.toMatch(/\[object |Cannot read|is not a function|^\S*Error:/)
  } else if (argv.includes('--json')) for (const line of stdout.trim().split('\n')) JSON.parse(line || 'null')
}

describe('the command line', () => {
  fuzz('takes or refuses any words', 110, [words], async (argv) => {
    const ended = await inProcess(all, argv, false)
    expectDocumented(ended, argv, [0, 2])
  })

  const harmless = words.filter((argv) => !argv.some((one) => /^--?(watch|file|url|listen|sql)|^-$/.test(one)))
  fuzz('runs any words on a database to a documented end', 12, [harmless], async (argv) => {
    if (argv[0] === 'migrate' && !argv.includes('--dry-run')) argv = ['migrate', 'status', ...argv.slice(1)]
    const ended = await inProcess(operating, argv, true)
    expectDocumented(ended, argv, [0, 1, 2, 3, 5])
  })

  const safe = fc.oneof(printable.map((one) => one.slice(0, 1000)), fc.constantFrom(...flags, ...good)) // biome-ignore format: one line is enough
  fuzz(
    'ends as a process with a documented exit code',
    2,
    [
      fc.constantFrom(...verbs.filter((verb) => !/demo|replay|consume|doctor|migrate/.test(verb))),
      fc.array(safe, { maxLength: 4 }),
    ],
    async (verb, more) => {
      // biome-ignore format: one line is enough
      const argv = [verb, ...more.filter((one) => !/^-(-watch|-file|-url|-listen)?/.test(one) || flags.includes(one))]
      const ended = await dueqOn(test)(...argv)
      expectDocumented(ended, argv, [0, 1, 2, 3, 5])
    },
  )
})

// --- internal ---

/** What `dueq` does with these words, in this process. Without `isReal` commands are parsed and not run. */
async function inProcess(
  commands: readonly ((program: Command) => void)[],
  argv: readonly string[],
  isReal: boolean,
): Promise<Ended> {
  // biome-ignore format: one line is enough
  const output = { stdout: '', stderr: '' }
  const write = { stdout: process.stdout.write, stderr: process.stderr.write }
  for (const name of ['stdout', 'stderr'] as const)
    process[name].write = ((chunk: unknown) => {
      output[name] += String(chunk)
      return true
    }) as never
  process.exitCode = undefined
  try {
    const program = new Command('dueq')
      .version('0')
      .exitOverride()
      .configureOutput({ outputError: () => {} })
    for (const add of commands) add(program)
    if (!isReal) unplug(program)
    await program.parseAsync([...argv], { from: 'user' })
  } catch (error) {
    fail(error, argv.includes('--json'))
  } finally {
    process.stdout.write = write.stdout
    process.stderr.write = write.stderr
  }
  const code = process.exitCode ?? 0
  process.exitCode = undefined
  return { code, ...output }
}

function unplug(command: Command): void {
  if (command.commands.length === 0) command.action(() => {})
  else for (const one of command.commands) unplug(one)
}
