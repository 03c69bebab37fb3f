// Bad inputs to the command line; each is run with `--json`. `{url}` stands for the URL of the test server.
export const commands: readonly (readonly [
  what: string,
  exitCode: number,
  code: string,
  says: RegExp,
  args: readonly string[],
])[] = [
  ['an unknown command', 2, 'usage', /unknown command/, ['enqeue', 'q1', '1']],
  ['an unknown option', 2, 'usage', /unknown option '--dealy'.*--delay/s, ['enqueue', 'q1', '1', '--dealy', '1s']],
  ['a missing argument', 2, 'usage', /queue/, ['peek']],
  ['a bad number', 2, 'usage', /whole number/, ['peek', 'q1', '--max', 'many']],
  ['a bad id', 2, 'usage', /an id/, ['cancel', 'x']],
  ['a bad duration', 2, 'duration.invalid', /`delay`/, ['enqueue', 'q1', '1', '--delay', 'soon']],
  ['a bad instant', 2, 'instant.invalid', /with a zone/, ['enqueue', 'q1', '1', '--at', 'tomorrow']],
  ['a payload that is no JSON', 2, 'payload.not_json', /A text needs its quotes/, ['enqueue', 'q1', 'hello']],
  ['a bad queue name', 2, 'queue.invalid_name', /1 to 120 letters/, ['queue', 'create', 'two words']],
  ['a setting out of range', 2, 'duration.invalid', /1s to 12h/, ['queue', 'create', 'q1', '--lease', '1ms']],
  ['an unknown queue', 3, 'queue.unknown', /"typo" does not exist/, ['enqueue', 'typo', '1']],
  ['a message that is gone', 3, 'message.not_found', /999999/, ['cancel', '999999']],
  ['no server', 4, 'database.unreachable', /host and port/, ['stats', '--url', 'postgres://u:secret@127.0.0.1:1/d']],
  ['a schema without dueq', 5, 'schema.missing', /dueq migrate/, ['stats', '--schema', 'nothing_here']],
  ['a URL that is none', 2, 'connection.invalid', /postgres:\/\/user/, ['stats', '--url', 'secret']],
]
