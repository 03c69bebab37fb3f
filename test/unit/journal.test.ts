import { appendFileSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, expect, it } from 'vitest'
import { type JournalRecord, openJournal, readJournals } from '../../src/cli/journal.js'

let directory: string
beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), 'dueq-journal-'))
})
afterEach(() => rmSync(directory, { recursive: true }))

const FIRST: JournalRecord = { type: 'extended', id: '1', attempt: 1, leaseEndsAt: '2026-01-01T00:00:30.000001Z' }
const SECOND: JournalRecord = { type: 'settled', id: 'é\n', attempt: 1, how: 'acked', at: '2026-01-01T00:00:01Z' }

async function read(...paths: string[]): Promise<JournalRecord[]> {
  const records: JournalRecord[] = []
  for await (const record of readJournals(paths)) records.push(record)
  return records
}

function written(name: string, ...records: JournalRecord[]): string {
  const path = join(directory, name)
  const journal = openJournal(path)
  for (const record of records) journal.write(record)
  journal.close()
  return path
}

it('reads back what was written, file after file', async () => {
  expect(await read(written('a', FIRST, SECOND), written('b', SECOND))).toEqual([FIRST, SECOND, SECOND])
})

it('has a record in the file before write returns', async () => {
  const path = join(directory, 'a')
  const journal = openJournal(path)
  journal.write(FIRST)
  expect(await read(path)).toEqual([FIRST])
  journal.close()
})

it('forgives a torn last line, in every file', async () => {
  const a = written('a', FIRST)
  const b = written('b', SECOND)
  for (const path of [a, b]) appendFileSync(path, JSON.stringify(SECOND).slice(0, 20))
  expect(await read(a, b)).toEqual([FIRST, SECOND])
})

it('keeps a last record that lost only its line break', async () => {
  const path = written('a', FIRST)
  appendFileSync(path, JSON.stringify(SECOND))
  expect(await read(path)).toEqual([FIRST, SECOND])
})

it.each([
  ['a torn line in the middle', `{"type":"ext\n${JSON.stringify(SECOND)}\n`],
  ['a bad last line that is complete', '{"type":"ext\n'],
  ['a record of another kind', '{"type":"sent"}\n'],
])('refuses %s and says where', async (_, text) => {
  const path = join(directory, 'a')
  writeFileSync(path, `${JSON.stringify(FIRST)}\n${text}`)
  await expect(read(path)).rejects.toThrow(`${path}:2: expected a journal record`)
})

it('never continues the journal of another process', () => {
  const path = written('a', FIRST)
  expect(() => openJournal(path)).toThrow('EEXIST')
})

it('reports a journal that is missing', async () => {
  await expect(read(join(directory, 'none'))).rejects.toThrow('ENOENT')
})
