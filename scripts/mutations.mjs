// Breaks dueq on purpose, one line at a time, and runs the tests of the promise that the line keeps: a mutation that no
// test with that number notices is a hole in the tests. Works on a copy; the checkout is left alone.
// Usage: node scripts/mutations.mjs [part of a name, or several with | between]
import { execFileSync, spawnSync } from 'node:child_process'
import { cpSync, mkdirSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { waking } from './mutations-waking.mjs'

/** name, the promise that it breaks, file, the line, what it becomes, the test that must notice. */
const mutations = [
  [
    'poll hands out early',
    1,
    'migrations/engine/30_consume.sql',
    'm.ready_at <= v_now\n',
    "m.ready_at <= v_now + interval '1 minute'\n",
    'test/sql/never-early.test.ts',
  ],
  [
    'back-off does not double',
    1,
    'migrations/engine/40_settle.sql',
    'power(2, ',
    'power(1, ',
    'test/sql/back-off.test.ts',
  ],
  [
    'no jitter in the back-off',
    1,
    'migrations/engine/40_settle.sql',
    '(0.5 + random() / 2)',
    '1',
    'test/sql/back-off.test.ts',
  ],
  [
    'enqueue_many forgets the last payload',
    2,
    'migrations/engine/20_produce.sql',
    'from (select unnest(payloads) as payload) n',
    'from (select unnest(payloads) as payload limit 1) n',
    'test/sql/enqueue-many.test.ts',
  ],
  [
    'ack without the fence',
    3,
    'migrations/engine/40_settle.sql',
    'where m.id = ack.id and m.attempt = ack.attempt and',
    'where m.id = ack.id and',
    'test/sql/fence.test.ts',
  ],
  [
    'ack of what is not leased',
    3,
    'migrations/engine/40_settle.sql',
    'm.attempt = ack.attempt and m.leased_by is not null',
    'm.attempt = ack.attempt',
    'test/sql/fence.test.ts',
  ],
  [
    'the attempt is not counted',
    3,
    'migrations/engine/30_consume.sql',
    'set attempt = m.attempt + 1',
    'set attempt = m.attempt',
    'test/sql/fence.test.ts',
  ],
  [
    'one failure too many',
    3,
    'migrations/engine/40_settle.sql',
    'v_failures >= v_queue.max_attempts',
    'v_failures > v_queue.max_attempts',
    'test/sql/budget.test.ts',
  ],
  [
    'a lapse costs nothing',
    3,
    'migrations/engine/30_consume.sql',
    'failures = m.failures + (m.leased_by is not null)::integer',
    'failures = m.failures',
    'test/sql/budget.test.ts',
  ],
  [
    'poison takes its neighbours along',
    3,
    'migrations/engine/30_consume.sql',
    'v_limit := least(v_limit, handlers - claimed);',
    'null;',
    'test/sql/poison.test.ts',
  ],
  [
    'claims wait for each other',
    3,
    'migrations/engine/30_consume.sql',
    'for update skip locked\n          ) c',
    'for update\n          ) c',
    'test/sql/skip-locked.test.ts',
  ],
  [
    'ack_many waits for locked rows',
    3,
    'migrations/engine/40_settle.sql',
    'm.leased_by is not null for update skip locked',
    'm.leased_by is not null for update',
    'test/sql/settle-many.test.ts',
  ],
  [
    'a transaction is ignored',
    4,
    'src/connect.ts',
    'const inside = namingRoles(transactionQuery(transaction, prepare), schema)',
    'const inside = query',
    'test/client/transactional.test.ts',
  ],
  [
    'an enqueue wakes nobody',
    6,
    'migrations/engine/20_produce.sql',
    '_wake(q, v_due_at, v_now) end end',
    'true end end',
    'test/sql/wake.test.ts',
  ],
  [
    'an enqueue has no number when it reads whether anybody sleeps',
    6,
    'migrations/engine/20_produce.sql',
    ' and pg_current_xact_id() is not null then',
    ' then',
    'test/random',
    'any',
  ],
  [
    'above READ COMMITTED an old announcement counts',
    6,
    'migrations/engine/10_clock.sql',
    "\n                    or current_setting('transaction_isolation') <> 'read committed')",
    ')',
    'test/sql/wake.test.ts',
  ],
  [
    'a nack wakes nobody',
    6,
    'migrations/engine/40_settle.sql',
    "perform _wake(v_queue, v_ready_at, v_now);\n  return 'retry';",
    "return 'retry';",
    'test/sql/wake.test.ts',
  ],
  [
    'every enqueue wakes',
    6,
    'migrations/engine/10_clock.sql',
    'ready_at <= v_now + queue.poll_interval\n',
    'true\n',
    'test/sql/wake.test.ts',
  ],
  [
    'a claim in any order',
    7,
    'migrations/engine/30_consume.sql',
    'order by p.priority, p.ready_since, p.id;',
    'order by p.id desc;',
    'test/sql/order.test.ts',
  ],
  [
    'larger priorities first',
    7,
    'migrations/engine/20_produce.sql',
    'order by l.priority)',
    'order by l.priority desc)',
    'test/sql/order.test.ts',
  ],
  [
    'the start of the transaction as the time',
    8,
    'migrations/engine/10_clock.sql',
    'pg_catalog.clock_timestamp()',
    'pg_catalog.now()',
    'test/sql/one-clock.test.ts',
  ],
  [
    "the caller's temporary tables first",
    8,
    'src/migrate.ts',
    "schema: [schema, 'pg_temp'],",
    'schema: [schema],',
    'test/sql/surroundings.test.ts',
  ],
  [
    'a release loses its place',
    7,
    'migrations/engine/40_settle.sql',
    'coalesce(v_ready_at, m.ready_since)',
    'coalesce(v_ready_at, v_now)',
    'test/model',
    'any',
  ],
  [
    'a batch takes leases back',
    2,
    'migrations/engine/40_settle.sql',
    'greatest(m.ready_at, v_now + _exactly(extend_many.lease))',
    'v_now + _exactly(extend_many.lease)',
    'test/model',
    'any',
  ],
  [
    'a suspect is told one lapse late',
    3,
    'migrations/engine/30_consume.sql',
    'lapses * 2 >= max_attempts',
    'lapses * 2 > max_attempts',
    'test/model',
    'any',
  ],
  [
    'no catch-up on reconnect',
    6,
    'src/wakeup.ts',
    'no producer would wake it.\n            wakeAll()\n',
    'no producer would wake it.\n',
    'test/faults/listener-lost.test.ts',
  ],
  [
    'leases are not extended',
    2,
    'src/lease.ts',
    'if (!extend || isExtending) return',
    'return',
    'test/consumer',
    'any',
  ],
  [
    'trust from the answer on',
    3,
    'src/lease.ts',
    'if (now < held.trustedUntil) return true',
    'return true',
    'test/consumer',
    'any',
  ],
  [
    'next ready_at is forgotten',
    6,
    'src/agenda.ts',
    'if (polled.nextReadyAtMs !== null)',
    'if (false)',
    'test/consumer',
    'any',
  ],
  [
    'a batch of nacks waits for locked rows',
    3,
    'migrations/engine/40_settle.sql',
    'm.leased_by is not null\n       for update skip locked;',
    'm.leased_by is not null\n       for update;',
    'test/sql/return-many.test.ts',
  ],
  [
    'a batch of nacks has one back-off',
    1,
    'migrations/engine/40_settle.sql',
    'v_ready_at := v_now + _retry_delay(v_queue, v_failures);\n    end if;\n    update messages m\n       set ready_at = v_ready_at, ready_since = null, leased_by = null,\n           failures',
    'v_ready_at := v_now + v_queue.backoff_base;\n    end if;\n    update messages m\n       set ready_at = v_ready_at, ready_since = null, leased_by = null,\n           failures',
    'test/sql/return-many.test.ts',
  ],
  [
    'a batch of nacks has no end of the budget',
    3,
    'migrations/engine/40_settle.sql',
    'if is_failure and v_failures >= v_queue.max_attempts then',
    'if false then',
    'test/sql/return-many.test.ts',
  ],
  [
    'a busy message counts as nacked',
    3,
    'src/returns.ts',
    "if (said !== 'busy') return said",
    'return said',
    'test/client/returns.test.ts',
  ],
  [
    'one bad message fails its batch',
    3,
    'src/returns.ts',
    'items.length === 1 || !isAboutItems(cause)',
    'true',
    'test/client/returns.test.ts',
  ],
  [
    'close() forgets what was called before',
    3,
    'src/connect.ts',
    'await client.pending.flush(deadline)',
    'void deadline',
    'test/client/returns.test.ts',
  ],
  [
    'settles wait behind everything else',
    3,
    'src/pool.ts',
    'const line = waitingAhead.size > 0 ? waitingAhead : waiting',
    'const line = waiting.size > 0 ? waiting : waitingAhead',
    'test/client/returns.test.ts',
  ],
  [
    'a batch of nacks wakes nobody',
    6,
    'migrations/engine/40_settle.sql',
    'perform _wake(q, w.ready_at, v_now) from',
    'perform q.id from',
    'test/random',
    'any',
  ],
  [
    'a queue that resumes wakes nobody',
    6,
    'migrations/engine/50_operate.sql',
    'perform _wake(v_queue, v_now, v_now);\n  return true;',
    'return true;',
    'test/random',
    'any',
  ],
  [
    'reschedule wakes nobody',
    6,
    'migrations/engine/50_operate.sql',
    'perform _wake(v_queue, v_due_at, v_now);',
    'null;',
    'test/random',
    'any',
  ],
  ...waking,
]

const root = join(fileURLToPath(import.meta.url), '../..')
const copy = mkdtempSync(join(tmpdir(), 'dueq-mutations-'))
const wanted = process.argv[2] ?? ''
let survivors = 0
try {
  const files = execFileSync('git', ['ls-files', '--cached', '--others', '--exclude-standard'], {
    cwd: root,
    encoding: 'utf8',
  })
  for (const file of files.split('\n').filter(Boolean)) {
    mkdirSync(dirname(join(copy, file)), { recursive: true })
    cpSync(join(root, file), join(copy, file))
  }
  symlinkSync(join(root, 'node_modules'), join(copy, 'node_modules'))
  symlinkSync(join(root, 'dist'), join(copy, 'dist'))

  for (const [name, , file, line] of mutations)
    if (!readFileSync(join(copy, file), 'utf8').includes(line)) throw new Error(`${name}: the line is not in ${file}`)
  for (const [name, promise, file, line, mutated, tests, which] of mutations) {
    if (!wanted.split('|').some((part) => name.includes(part))) continue
    const path = join(copy, file)
    const original = readFileSync(path, 'utf8')
    writeFileSync(path, original.replace(line, mutated))
    const report = join(copy, 'report.json')
    rmSync(report, { force: true })
    const pattern = which === 'any' ? 'promise' : `promise ${promise}`
    spawnSync(
      process.execPath,
      [
        'node_modules/vitest/vitest.mjs',
        'run',
        ...tests.split(' '),
        '-t',
        pattern,
        '--bail=1',
        '--reporter=json',
        `--outputFile=${report}`,
      ],
      // A failure is enough: the tests after it need not run, nor need it be shrunk.
      { cwd: copy, env: { ...process.env, DUEQ_MODEL_SHRINK: 'off', DUEQ_RANDOM_RUNS: '3' } },
    )
    writeFileSync(path, original)
    const results = JSON.parse(readFileSync(report, 'utf8')).testResults.flatMap(
      ({ assertionResults }) => assertionResults,
    )
    const failed = results.filter(({ status }) => status === 'failed')
    if (failed.length === 0) survivors++
    console.log(
      `${failed.length > 0 ? 'killed  ' : 'SURVIVED'}  promise ${promise}  ${name.padEnd(40)} ${failed.length} of ${results.filter(({ status }) => status !== 'pending' && status !== 'skipped').length} tests: ${failed[0]?.title ?? tests}`,
    )
  }
} finally {
  rmSync(copy, { recursive: true, force: true })
}
process.exitCode = survivors > 0 ? 1 : 0
