/**
 * docs/sql-api.md tells the truth: its ```sql blocks run as written, in one session of a fresh schema.
 *
 * In the blocks `-- => a | b` is the next row of the statement above it, `-- => (no rows)` that it gives none, and
 * `-- => error DQ006` that it fails so; `-- e.g. …` is one row, not compared; `-- 5 seconds later` moves the clock.
 */
import { randomBytes } from 'node:crypto'
import { readFileSync } from 'node:fs'
import pg from 'pg'
import { afterAll, beforeAll, expect, it } from 'vitest'
import { freshSchema, type TestSchema } from './support/database.js'

type Step =
  | { readonly later: string }
  | { readonly statement: string; readonly rows: readonly string[]; readonly hasExample: boolean }

const page = readFileSync(new URL('../docs/sql-api.md', import.meta.url), 'utf8')
const chapters = new Map(page.split(/^## /m).map((text) => [text.slice(0, text.indexOf('\n')), text]))

let test: TestSchema
let client: pg.Client
beforeAll(async () => {
  test = await freshSchema()
  await test.freeze()
  client = new pg.Client({ connectionString: test.url })
  await client.connect()
  // Tables of the examples go where the schema of the test goes.
  await client.query(`set search_path = ${test.schema}, pg_temp`)
})
afterAll(async () => {
  await client.end()
  await test.close()
})

it.each(['The life of a message', 'A transactional outbox in plain SQL'])(
  'the statements of "%s" give what the page says',
  async (chapter) => {
    const steps = stepsOf(chapter)
    expect(steps.length).toBeGreaterThan(5)
    for (const step of steps) {
      if ('later' in step) await test.travel(step.later)
      else {
        const given = await run(step.statement)
        if (step.hasExample) expect(given, step.statement).toHaveLength(1)
        else if (step.rows.length > 0) expect(given, step.statement).toEqual(step.rows)
      }
    }
  },
)

it('the grants of "Rights" are enough for what they are meant for, and for no more', async () => {
  const suffix = randomBytes(4).toString('hex')
  const roles = ['app_producer', 'dashboard', 'app'].map((role) => `${role}_${suffix}`)
  const [producer, dashboard, app] = roles
  const as = async (role: string | undefined, text: string) => {
    await client.query(`set role ${role}`)
    const given = await run(text)
    await client.query('reset role')
    return given
  }
  for (const role of roles) await client.query(`create role ${role}`)
  try {
    for (const step of stepsOf('Rights')) {
      if ('later' in step) continue
      await client.query(
        named(step.statement).replace(/ to (.*);/, (_, to: string) => ` to ${to.replace(/\w+/g, `$&_${suffix}`)};`),
      )
    }
    await run(`select dueq.create_queue(queue => 'rights')`)
    const denied = ['error 42501']
    expect(
      await as(producer, `select created from dueq.enqueue(queue => 'rights', payload => '1', priority => 5)`),
    ).toEqual(['t'])
    expect(
      await as(producer, `select created from dueq.enqueue(queue => 'rights', payload => '1', dedup_key => 'k')`),
    ).toEqual(['t'])
    expect(await as(producer, `select id from dueq.dequeue(queue => 'rights')`)).toEqual(denied)
    expect(await as(producer, 'select payload from dueq.messages')).toEqual(denied)
    expect(await as(dashboard, `select ready from dueq.queue_stats where queue = 'rights'`)).toEqual(['2'])
    expect(await as(dashboard, 'select count(*) from dueq.messages')).toEqual(denied)
    expect(await as(app, `select dueq.nack(id, attempt) from dueq.dequeue(queue => 'rights')`)).toEqual(['retry'])
    expect(await as(app, `select dueq.dead_letter(id, attempt, 'r') from dueq.dequeue(queue => 'rights')`)).toEqual([
      't',
    ])
    expect(await as(app, `select count(*) from dueq.redrive(queue => 'rights')`)).toEqual(denied)
    expect(await as(app, 'select count(*) from dueq.messages')).toEqual(denied)
  } finally {
    for (const role of roles) await client.query(`drop owned by ${role}; drop role ${role}`)
  }
})

it('the reference lists every public function with its arguments, and every view with its columns', async () => {
  const reference = chapters.get('Reference') ?? ''
  const listed = [...reference.matchAll(/`(\w+)\(([^`)]*)\) → [^`]*`/g)].map(([, name, args]) => [
    name,
    (args ?? '')
      .split(', ')
      .map((arg) => arg.replace(/ = .*|\?$/, '').replace('timestamptz', 'timestamp with time zone')),
  ])
  const functions = await test.sql`
    select p.proname as name, string_to_array(pg_get_function_identity_arguments(p.oid), ', ') as args
      from pg_proc p where p.pronamespace = ${test.schema}::regnamespace and p.proname ~ '^[a-z]'
       and p.prorettype <> 'trigger'::regtype`
  const sorted = (pairs: readonly unknown[]) => pairs.map((pair) => JSON.stringify(pair)).sort()
  expect(sorted(listed)).toEqual(
    sorted(
      functions.map(({ name, args }) => [
        name,
        args.length === 0 ? [''] : args.filter((arg: string) => !arg.startsWith('OUT ')),
      ]),
    ),
  )

  const views = await test.sql`
    select c.relname as name, array_agg(a.attname order by a.attnum) as columns
      from pg_class c join pg_attribute a on a.attrelid = c.oid and a.attnum > 0
     where c.relnamespace = ${test.schema}::regnamespace and c.relkind = 'v' group by c.relname`
  expect(views.length).toBeGreaterThan(3)
  for (const { name, columns } of views) expect(reference).toContain(`| \`${name}\` | ${columns.join(', ')}`)
})

function named(text: string): string {
  return text.replace(/\bdueq\b/g, test.schema)
}

/** The rows as text, as psql shows them. */
async function run(statement: string): Promise<readonly string[]> {
  const text = named(statement)
  const asText = { getTypeParser: () => (value: string) => value }
  try {
    const { rows } = await client.query<(string | null)[]>({
      text,
      rowMode: 'array',
      types: asText as pg.CustomTypesConfig,
    })
    return rows.length === 0 ? ['(no rows)'] : rows.map((row) => row.map((value) => value ?? 'null').join(' | '))
  } catch (error) {
    const { code } = error as { readonly code?: string }
    if (code === undefined) throw error
    return [`error ${code}`]
  }
}

function stepsOf(chapter: string): readonly Step[] {
  const blocks = [...(chapters.get(chapter) ?? '').matchAll(/^```sql\n(.*?)^```/gms)].map(([, text]) => text)
  const steps: Step[] = []
  let statement = ''
  for (const line of blocks.join('').split('\n')) {
    const last = steps.at(-1)
    const [, later] = /^-- (\d.*) later$/.exec(line) ?? []
    if (later) steps.push({ later })
    else if (line.startsWith('-- ')) {
      if (!last || 'later' in last) throw new Error(`No statement above "${line}"`)
      const [, row] = /^-- => (.*)$/.exec(line) ?? []
      steps[steps.length - 1] = row ? { ...last, rows: [...last.rows, row] } : { ...last, hasExample: true }
    } else {
      statement += `${line}\n`
      // A semicolon within a function's body ends nothing.
      if (!line.endsWith(';') || statement.split('$$').length % 2 === 0) continue
      steps.push({ statement: statement.trim(), rows: [], hasExample: false })
      statement = ''
    }
  }
  if (statement.trim()) throw new Error(`A statement without an end: ${statement}`)
  return steps
}
