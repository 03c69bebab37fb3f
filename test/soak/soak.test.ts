// `npm run soak` in short, and its judge on samples that are made up: whoever leaks is to be found out.
import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, describe, expect, it } from 'vitest'
import { draw } from '../../scripts/soak/chart.mjs'
import { type Database, judge, type Sample, withLateness } from '../../scripts/soak/figures.mjs'
import { judgeFlat, trendOf } from '../../scripts/soak/flat.mjs'
import { startOwnServer } from '../support/own-server.js'
import { killAll, startProcess } from '../support/processes.js'

const directory = mkdtempSync(join(tmpdir(), 'dueq-soak-'))
const seconds = 900
const bound = { share: 0.15, least: 10 }
/** Between -1 and 1, without a trend. */
const noise = (at: number): number => Math.sin(at * 12.9898) * Math.cos(at * 78.233)
const times = Array.from({ length: 180 }, (_, i) => i * 5)
const isFlat = (value: (at: number) => number | null): boolean =>
  judgeFlat(
    trendOf(
      times.map((at) => [at, value(at)]),
      seconds,
    ),
    bound,
  ).isFlat

afterAll(() => {
  killAll()
  rmSync(directory, { recursive: true, force: true })
})

describe('what is flat', () => {
  it.each<[what: string, value: (at: number) => number | null]>([
    ['a level with noise', (at) => 100 + 20 * noise(at)],
    ['a sawtooth, as between two vacuums', (at) => 100 + (at % 60)],
    ['what finds its size in the first third', (at) => 40 + Math.min(at, 280) / 4 + noise(at)],
    ['what shrinks', (at) => 200 - at / 10],
    ['a level with gaps, and peaks after faults', (at) => (at % 50 === 0 ? null : at % 70 === 0 ? 400 : 100)],
  ])('is %s', (_, value) => expect(isFlat(value)).toBe(true))

  it.each<[what: string, value: (at: number) => number | null]>([
    ['a leak of 2 MB a minute below the noise', (at) => 100 + at / 30 + 15 * noise(at)],
    ['a step early in the last third', (at) => (at < 700 ? 100 : 130) + noise(at)],
    ['a leak that is as large as the figure', (at) => at],
    ['a series of gaps', () => null],
    ['what ends in the first third', (at) => (at < 250 ? 100 : null)],
  ])('is not %s', (_, value) => expect(isFlat(value)).toBe(false))
})

const database = (changes: Partial<Database> = {}): Database => ({
  ...{
    micros: 0,
    tables: { messages: 5e6, dead_letters: 1e6, queues: 1e5 },
    indexes: { messages_pkey: 4e6 },
    total: 1e7,
  },
  ...{ connections: { producers: 10, consumers: 20, others: 9 }, deadTuples: 5000, autovacuums: 1 },
  ...{ ready: 5, delayed: 9, leased: 7, ...changes },
})
const sampleAt = (at: number, changes: Partial<Database> = {}, bytes = 9e7): Sample => ({
  seconds: at,
  processes: [
    { name: 'consumer 1', isSpared: true, bytes },
    { name: 'consumer 2', isSpared: false, bytes: at * 1e6 },
  ],
  ...{
    enqueued: 1000,
    delivered: 1000,
    faults: { underWay: 1, over: at },
    database: database(changes),
    lateness: null,
  },
})

describe('the verdict of a soak', () => {
  const verdictOf = (sample: (at: number) => Sample, lasts = seconds) => {
    const { rows, isFlat } = judge({ samples: times.map(sample), seconds: lasts })
    return { isFlat, growing: rows.filter(({ verdict }) => verdict?.isFlat === false).map(({ figure }) => figure) }
  }
  it('is flat where only that grows which may: dead letters, and processes that are killed', () => {
    const growing = (at: number) =>
      sampleAt(at, { tables: { ...database().tables, dead_letters: at * 1e5 }, total: at * 1e5 })
    expect(verdictOf(growing)).toEqual({ isFlat: true, growing: [] })
  })
  it.each<[figure: string, sample: (at: number) => Sample]>([
    ['Memory of each process: consumer 1', (at) => sampleAt(at, {}, 9e7 + at * 5e4)],
    [
      'Connections: producers',
      (at) => sampleAt(at, { connections: { producers: 10 + Math.floor(at / 90), consumers: 20, others: 9 } }),
    ],
    [
      'Table of messages: messages',
      (at) => sampleAt(at, { tables: { ...database().tables, messages: 5e6 + at * 1e4 } }),
    ],
    [
      'Indexes of messages: all',
      (at) => sampleAt(at, { indexes: { messages_pkey: 4e6, messages_ready_idx: at * 1e4 } }),
    ],
    ['Other tables: queues', (at) => sampleAt(at, { tables: { ...database().tables, queues: at * 1e4 } })],
  ])('names what leaks: %s', (figure, sample) => {
    expect(verdictOf(sample)).toEqual({ isFlat: false, growing: [figure] })
  })
  it('is none after a few minutes, in which nothing has found its size yet', () => {
    expect(
      judge({ samples: times.slice(0, 20).map((at) => sampleAt(at, {}, at * 1e6)), seconds: 100 }).isFlat,
    ).toBeNull()
  })
  it('counts a lateness to the first sample after its claim, and past those that have no clock', () => {
    const samples = [sampleAt(0, { micros: 100 }), { ...sampleAt(5), database: null }, sampleAt(10, { micros: 300 })]
    const found = withLateness(samples, [
      [90, 1],
      [250, 4],
      [150, 2],
      [300, 6],
      [301, 99],
    ])
    expect(found.map(({ lateness }) => lateness)).toEqual([
      { count: 1, p50: 1, p99: 1 },
      null,
      { count: 3, p50: 4, p99: 6 },
    ])
  })
})

describe('the picture of a soak', () => {
  const panel = (points: readonly (readonly [number, number | null])[], isLogarithmic = false) => ({
    ...{ title: 'A & B', unit: 'MB', isLogarithmic },
    lines: [{ label: 'all <of> them', points }],
  })
  const picture = (panels: readonly ReturnType<typeof panel>[], marks: number[] = []) =>
    draw({ title: 'A "run"', caption: 'of dueq', seconds: 60, marks, panels })
  it('is well-formed, whatever the texts, and reads in light and dark', () => {
    const svg = picture([
      panel([
        [0, 1],
        [60, 5],
      ]),
    ])
    const open = [...svg.matchAll(/<([a-z]+)(?:\s[^>]*[^/])?>/g)].map(([, name]) => name)
    const closed = [...svg.matchAll(/<\/([a-z]+)>/g)].map(([, name]) => name)
    expect(open.toSorted()).toEqual(closed.toSorted())
    expect(svg).toContain('A &amp; B')
    expect(svg).toContain('all &lt;of&gt; them')
    expect(svg).toContain('prefers-color-scheme: dark')
  })
  it('breaks a line where there is no figure, and marks instants in every panel', () => {
    const points = [
      [0, 1],
      [10, 2],
      [20, null],
      [30, null],
      [40, 3],
      [60, 1],
    ] as const
    expect(picture([panel(points)]).match(/<polyline/g)).toHaveLength(2)
    expect(picture([panel(points), panel(points)], [30]).match(/class="mark"/g)).toHaveLength(2)
  })
  it.each([
    ['nothing', []],
    [
      'gaps',
      [
        [0, null],
        [60, null],
      ],
    ],
    [
      'zeros',
      [
        [0, 0],
        [60, 0],
      ],
    ],
    ['one point', [[0, 7]]],
    [
      'what is very small and very large',
      [
        [0, 0.0001],
        [60, 5e9],
      ],
    ],
  ] as const)('draws %s', (_, points) => {
    for (const isLogarithmic of [false, true]) {
      const svg = picture([panel(points, isLogarithmic)])
      expect(svg).not.toMatch(/NaN|Infinity|undefined|null/)
    }
  })
})

it('samples a real run with its faults, judges it, and leaves picture, table and samples', async (test) => {
  await (await startOwnServer(test)).stop() // skips where there are no binaries
  const size = [
    '--for',
    '6s',
    '--every',
    '500ms',
    '--rate',
    '200',
    '--producers',
    '1',
    '--consumers',
    '2',
    '--seed',
    '7',
  ]
  const run = startProcess('scripts/soak.mjs', [...size, '--out', directory])
  expect({ code: (await run.exited).code, stderr: run.stderr }).toMatchObject({ code: 0 })
  const result = JSON.parse(readFileSync(join(directory, 'soak.json'), 'utf8'))
  const samples: Sample[] = result.samples
  const known = samples.flatMap(({ database }) => database ?? [])
  expect(result.torture).toMatchObject({ ok: true, messages: { left: 0 } })
  expect(samples.filter(({ processes }) => processes.every(({ bytes }) => bytes! > 2e7)).length).toBeGreaterThan(2)
  expect(known.some(({ connections }) => connections.producers > 0 && connections.consumers > 1)).toBe(true)
  expect(known.at(-1)).toMatchObject({ tables: { messages: expect.any(Number) }, total: expect.any(Number) })
  expect(Object.keys(known.at(-1)!.indexes)).toHaveLength(3)
  expect(samples.some(({ lateness, delivered }) => lateness && delivered! > 0)).toBe(true)
  expect(readFileSync(join(directory, 'soak.svg'), 'utf8').match(/<polyline/g)!.length).toBeGreaterThan(10)
  expect(run.lines.join('\n')).toContain('not judged: shorter than 5 minutes')
}, 120_000)
