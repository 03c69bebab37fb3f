/**
 * A later release: the migrations of the working tree, and what a test adds to them, in a directory of its own.
 */
import { cp, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { ownDirectory } from '../../src/migrations.js'

export type LaterRelease = {
  readonly directory: string
  [Symbol.asyncDispose](): Promise<void>
}

/** `files`: further files by name, `engine/…` for functions. `edit` changes the text of a file that is there. */
export async function laterRelease(
  files: Readonly<Record<string, string>>,
  edits: Readonly<Record<string, (text: string) => string>> = {},
): Promise<LaterRelease> {
  const directory = await mkdtemp(join(tmpdir(), 'dueq-later-'))
  await cp(ownDirectory(), directory, { recursive: true })
  for (const [name, text] of Object.entries(files)) await writeFile(join(directory, name), text)
  for (const [name, edit] of Object.entries(edits)) {
    const before = await readFile(join(directory, name), 'utf8')
    const after = edit(before)
    if (after === before) throw new Error(`The edit of ${name} changes nothing`)
    await writeFile(join(directory, name), after)
  }
  return { directory, [Symbol.asyncDispose]: () => rm(directory, { recursive: true }) }
}
