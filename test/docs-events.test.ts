// docs/events.md lists the events that exist, with their fields.
import { readFileSync } from 'node:fs'
import { expect, it } from 'vitest'

const read = (path: string) => readFileSync(new URL(`../${path}`, import.meta.url), 'utf8')

it('the table of events is the union of events', () => {
  const source = read('src/events.ts')
  const union = source.slice(source.indexOf('export type DueqEvent'), source.indexOf('/** A setting'))
  const declared = union.split(/^ {2}\| \{/m).slice(1)
  const inSource = declared.map((member) => {
    const [, type] = /readonly type: '([^']+)'/.exec(member) ?? []
    const fields = [...member.matchAll(/readonly (\w+):/g)].map(([, field]) => field)
    return [type, ...fields.filter((field) => field !== 'type')].join(' ')
  })
  const inTable = [...read('docs/events.md').matchAll(/^\| `([^`]+)` \| ([^|]*)\|/gm)].map(([, type, fields]) =>
    [type, ...(fields ?? '').split(/[, ]+/).filter(Boolean)].join(' '),
  )
  expect(inSource.length).toBeGreaterThan(10)
  expect(inTable).toEqual(inSource)
})

it('the warnings named are those that are sent without a listener', () => {
  const source = read('src/events.ts')
  const warned = [...source.slice(source.indexOf('function warningOf')).matchAll(/case '([^']+)'/g)].map(([, t]) => t)
  const [, listed = ''] = /Without `onEvent`, (.*?)\. The code/s.exec(read('docs/events.md')) ?? []
  const types = [...listed.matchAll(/`(\w+\.\w+)`/g)].map(([, type]) => type)
  expect(types.filter((type) => type !== 'process.emitWarning')).toEqual(warned)
})
