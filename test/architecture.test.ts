// The shape of the sources: imports point down only, SQL is in the files for statements, files stay short enough to read.
import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { expect, test } from 'vitest'

/** Top to bottom: a file imports only from lines below its own. */
const layers = [
  ['cli'],
  ['index'],
  ['connect'],
  ['queue', 'doctor'],
  ['iterate', 'dequeue', 'produce'],
  ['consumer'],
  ['claiming'],
  ['handlers'],
  ['settle', 'prefetch'],
  ['claim'],
  ['client', 'message-control'],
  ['watch', 'verbs'],
  ['agenda'],
  ['acks', 'returns', 'connect-options', 'consume-options', 'message', 'wakeup', 'schema', 'migrate'],
  ['role-missing'],
  ['roles'],
  ['privileges'],
  ['listener', 'migrator', 'migrations'],
  ['enqueues', 'listen-source'],
  ['batch', 'prepare', 'throttle'],
  ['enqueuer', 'room', 'lease', 'pool', 'coalesce', 'latch', 'pending', 'gate', 'poll-intervals'],
  ['primary'],
  ['ask-hosts'],
  ['definition', 'json', 'payload-schema'],
  ['statements'],
  ['statements-doctor', 'statements-server'],
  ['statements-operate', 'statements-poll', 'events'],
  ['statements-settle', 'statements-produce'],
  ['text-form'],
  ['hosts'],
  ['driver', 'options', 'cut-off', 'echo', 'hint', 'asking-signal', 'turns', 'alarm', 'bag'],
  ['database-errors'],
  ['errors'],
]
const src = join(import.meta.dirname, '../src')
const sources = readdirSync(src, { recursive: true })
  .map(String)
  .filter((file) => file.endsWith('.ts'))
  .map((file) => ({ file, text: readFileSync(join(src, file), 'utf8') }))
const isCli = (file: string): boolean => file.startsWith('cli/')
const level = (name: string): number => layers.findIndex((names) => names.includes(name))

test('every file of the library has its place', () => {
  const library = sources.filter(({ file }) => !isCli(file)).map(({ file }) => file.replace('.ts', ''))
  expect(library.filter((name) => level(name) === -1)).toEqual([])
  expect(layers.flat().filter((name) => name !== 'cli' && !library.includes(name))).toEqual([])
})

test('imports point down only', () => {
  const upward = sources
    .filter(({ file }) => !isCli(file))
    .flatMap(({ file, text }) =>
      [...text.matchAll(/from '\.\/([\w/-]+)\.js'|import\('\.\/([\w/-]+)\.js'\)/g)].map((match) => ({
        file,
        target: match[1] ?? match[2]!,
      })),
    )
    .filter(({ file, target }) => level(target.split('/')[0]!) <= level(file.replace('.ts', '')))
  expect(upward).toEqual([])
})

test('only the statements and the migrations speak SQL', () => {
  const speakers = sources.filter(({ text }) =>
    /`[^`]*\b(select|insert into|update|delete from)\b[^`]*`|\.unsafe\(/i.test(
      text.replace(/^\s*(\/\/|\*|\/\*).*$/gm, ''),
    ),
  )
  // `dueq bench` compares with bare statements, which are no calls of functions; `dueq torture` ends sessions.
  const allowed =
    /^(statements(-produce|-poll|-settle|-operate|-doctor|-server)?|migrate|migrator|migrations|roles|driver)\.ts$|^cli\/(embedded|bench-sql\.ts$|torture\/sql\.ts$)/
  expect(speakers.map(({ file }) => file).filter((file) => !allowed.test(file))).toEqual([])
})

test('no file is longer than 250 lines', () => {
  expect(sources.filter(({ text }) => text.split('\n').length > 251).map(({ file }) => file)).toEqual([])
})

test('the library never prints, exits or installs a signal handler', () => {
  const loud = sources.filter(
    ({ file, text }) =>
      !isCli(file) && /console\.|process\.(exit|on|once)\b/.test(text.replace(/^\s*(\/\/|\*|\/\*).*$/gm, '')),
  )
  expect(loud.map(({ file }) => file)).toEqual([])
})
