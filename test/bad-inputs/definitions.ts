// Bad names, settings and connections: what needs no database to be refused.
import { connect, defineQueue } from '../../src/index.js'
import { migrate } from '../../src/migrate.js'
import type { BadInput } from './row.js'

const any = (value: unknown): never => value as never
const url = 'postgres://u:secret@127.0.0.1:1/d'

export const definitions: readonly BadInput[] = [
  ['an empty queue name', 'queue.invalid_name', /1 to 120 letters/, () => defineQueue('')],
  ['a queue name with a space', 'queue.invalid_name', /Use 1 to 120 letters/, () => defineQueue('two words')],
  ['a queue name of 121 letters', 'queue.invalid_name', /1 to 120/, () => defineQueue('q'.repeat(121))],
  ['a queue name that begins with a dash', 'queue.invalid_name', /beginning with/, () => defineQueue('-q')],
  ['a queue name with a quote', 'queue.invalid_name', /`q"; drop` \(string\)/, () => defineQueue('q"; drop')],
  ['a number as queue name', 'queue.invalid_name', /`7` \(number\)/, () => defineQueue(any(7))],
  ['a handle by a bad name', 'queue.invalid_name', /1 to 120/, ({ test }) => test.dueq.queue('ä')],
  ['a lease too short', 'duration.invalid', /`lease`.*from 1s to 12h.*`999`/, () => defineQueue('q', { lease: 999 })],
  ['a lease too long', 'duration.invalid', /from 1s to 12h/, () => defineQueue('q', { lease: '13h' })],
  ['a lease without a unit', 'duration.invalid', /text like '30s'/, () => defineQueue('q', any({ lease: '30' }))],
  ['a lease in weeks', 'duration.invalid', /got `1w`/, () => defineQueue('q', any({ lease: '1w' }))],
  ['a setting misspelt', 'option.unknown', /did you mean `lease`\?/, () => defineQueue('q', any({ leese: '30s' }))],
  [
    'a back-off misspelt',
    'option.unknown',
    /`bass` of backoff.*`base`/,
    () => defineQueue('q', { backoff: any({ bass: 1 }) }),
  ],
  ['no attempts at all', 'option.invalid', /`maxAttempts`.*from 1 to 1000/, () => defineQueue('q', { maxAttempts: 0 })],
  ['half an attempt', 'option.invalid', /whole number.*`1.5`/, () => defineQueue('q', { maxAttempts: 1.5 })],
  [
    'a schema that is none',
    'option.invalid',
    /Standard Schema/,
    () => defineQueue('q', { payload: any({ type: 'object' }) }),
  ],
  ['settings that are a text', 'option.invalid', /to be an object/, () => defineQueue('q', any('30s'))],
  [
    'a URL of another database',
    'connection.invalid',
    /postgres:\/\/user:password@host/,
    () => connect('mysql://u:secret@h/d'),
  ],
  ['a connection of two kinds', 'connection.invalid', /one of `url`/, ({ test }) => connect({ url, sql: test.sql })],
  ['a connection that is none', 'connection.invalid', /a pg client or pool/, () => connect({ pool: any({}) })],
  [
    'a postgres.js in place of options',
    'connection.invalid',
    /connect\(\{ sql \}\)/,
    ({ test }) => connect(any(test.sql)),
  ],
  [
    'a transaction that is none',
    'connection.invalid',
    /\(text, params\) => rows/,
    ({ test }) => test.dueq.in(any(undefined)),
  ],
  ['a schema name with capitals', 'option.invalid', /`schema`.*lower-case/, () => connect({ url, schema: 'Dueq' })],
  ['a schema name with SQL', 'option.invalid', /`schema`/, () => connect({ url, schema: 'x"; drop table y' })],
  ['a reserved schema name', 'option.invalid', /not beginning with.*pg_/, () => connect({ url, schema: 'pg_dueq' })],
  ['too many connections', 'option.invalid', /`max`.*from 1 to 100/, () => connect({ url, max: 101 })],
  ['a timeout too short', 'duration.invalid', /`timeout`.*100ms to 1h/, () => connect({ url, timeout: 99 })],
  [
    'a connect option misspelt',
    'option.unknown',
    /did you mean `listenUrl`/,
    () => connect(any({ url, listenURL: url })),
  ],
  ['migrating a schema that is none', 'option.invalid', /`schema`/, () => migrate({ url, schema: '1' })],
  [
    'migrating without files',
    'migration.files_missing',
    /pass `directory`/,
    () => migrate({ url, directory: '/nowhere' }),
  ],
]
