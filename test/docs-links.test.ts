// Links between the pages lead somewhere, and the tests that show a promise exist and carry its number.
import { existsSync, readdirSync, readFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { expect, it } from 'vitest'

const root = fileURLToPath(new URL('..', import.meta.url))
const read = (path: string) => readFileSync(join(root, path), 'utf8')
const pages = [
  'README.md',
  ...readdirSync(join(root, 'docs'), { recursive: true })
    .map((path) => join('docs', String(path)))
    .filter((path) => path.endsWith('.md'))
    .sort(),
]

it.each(pages)('the links of %s lead to files and headings that exist', (page) => {
  const prose = read(page).replace(/^```.*?^```/gms, '')
  for (const [, target = ''] of prose.matchAll(/\]\(((?!\w+:)[^)]+)\)/g)) {
    const [path, heading] = target.split('#')
    const file = path ? join(dirname(page), path) : page
    expect(existsSync(join(root, file)), `${page} links to ${target}`).toBe(true)
    if (heading) expect(anchors(read(file)), `${page} links to ${target}`).toContain(heading)
  }
})

it('each promise names the tests that carry its number, and no others', () => {
  const tests = readdirSync(join(root, 'test'), { recursive: true })
    .map((path) => join('test', String(path)))
    .filter((path) => path.endsWith('.test.ts'))
  const promises = read('docs/guarantees.md').split(/^## (?=\d)/m)
  expect(promises).toHaveLength(9)
  for (const promise of promises.slice(1)) {
    const named = [...promise.matchAll(/`(test\/[^`]+\.test\.ts)`/g)].map(([, file]) => file!)
    const title = new RegExp(`promise ${promise[0]}[a-z]?:`)
    expect(named.toSorted(), promise.split('\n')[0]).toEqual(tests.filter((path) => title.test(read(path))).sort())
  }
})

/** The anchors of a page's headings, as GitHub makes them. */
function anchors(text: string): readonly string[] {
  return [...text.matchAll(/^#+ (.*)$/gm)].map(([, heading]) =>
    heading!
      .toLowerCase()
      .replace(/[^\p{L}\p{N}_ -]/gu, '')
      .replaceAll(' ', '-'),
  )
}
