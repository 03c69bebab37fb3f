/** What is accepted comes back the same, over every kind of driver: payload, headers, due time, priority, dedup key. */
import fc from 'fast-check'
import pg from 'pg'
import postgres from 'postgres'
import { afterAll, beforeAll, describe, expect } from 'vitest'
import type { Dueq, EnqueueItem } from '../../src/index.js'
import { startClient, type TestClient } from '../client/client.js'
import { expectQuietProcess, fuzz } from './cases.js'
import { anything, number, text, thing } from './hostile.js'
import { canonical, verdictOf } from './verdict.js'

let test: TestClient
let sql: postgres.Sql
let pool: pg.Pool
let clients: Readonly<Record<'url' | 'postgres.js' | 'pg', Dueq>>
beforeAll(async () => {
  test = await startClient()
  // Settings of a session that would change how values look, were they not sent and read as text.
  const options =
    '-c TimeZone=Asia/Kathmandu -c DateStyle=SQL,DMY -c IntervalStyle=sql_standard -c extra_float_digits=-2'
  const url = Object.assign(new URL(test.url), { search: `?options=${encodeURIComponent(options)}` }).href
  sql = postgres(test.url, { max: 2, onnotice: () => {}, connection: { TimeZone: 'America/St_Johns' } })
  pool = new pg.Pool({ connectionString: test.url, max: 2, options })
  clients = { url: test.anotherByUrl({ url }), 'postgres.js': test.another({ sql }), pg: test.another({ pool }) }
})
afterAll(async () => {
  await Promise.all([sql.end(), pool.end()])
  await test.close()
})
expectQuietProcess()

const pad = (n: number): string => String(n).padStart(2, '0')
const field = (min: number, max: number) => fc.integer({ min, max }).map(pad)
const zone = fc.oneof(fc.constant('Z'), fc.tuple(fc.constantFrom('+', '-'), field(0, 14), fc.constantFrom('', ':30', '45')).map((all) => all.join(''))) // biome-ignore format: two kinds
const iso = fc
  .tuple(fc.integer({ min: 1, max: 2099 }), field(1, 12), field(1, 31), fc.constantFrom('T', ' '), field(0, 24), field(0, 59), field(0, 59), fc.constantFrom('', '.5', '.123456', '.000001', '.999999'), zone) // biome-ignore format: the fields of an instant
  .map(([y, mo, d, t, h, m, s, f, z]) => `${String(y).padStart(4, '0')}-${mo}-${d}${t}${h}:${m}:${s}${f}${z}`)
const at = fc.oneof(iso, fc.date({ min: new Date('0001-01-01T00:00:00Z'), max: new Date('2100-01-01T00:00:00Z') }))

const tree = fc.letrec((tie) => ({
  value: fc.oneof(
    { maxDepth: 3 },
    fc.oneof(text, number, fc.constantFrom<unknown>(null, true, 0.1, -1.5e-9, 123456789012345), fc.double()),
    fc.array(tie('value'), { maxLength: 4 }),
    fc.dictionary(text, tie('value'), { maxKeys: 4 }),
    thing,
  ),
})).value
const item = fc.record(
  {
    payload: tree,
    at,
    headers: fc.dictionary(text, tree),
    dedupKey: text,
    priority: fc.integer({ min: -100, max: 100 }),
  },
  { requiredKeys: ['payload'] },
)

type Stored = { readonly id: string; readonly dueMicros: string; readonly dedupKey: string | null }

describe.each(['url', 'postgres.js', 'pg'] as const)('over %s', (variant) => {
  fuzz(
    'alone and among others, a message that is accepted arrives as it was',
    20,
    [fc.array(item, { minLength: 1, maxLength: 4 })],
    async (given) => {
      // biome-ignore format: one line is enough
      const queue = clients[variant].queue((await test.queue({ lease: '12h' })).name)
      const accepted: EnqueueItem<unknown>[] = []
      const ids: string[] = []
      for (const one of given) {
        const { payload, ...options } = one as EnqueueItem<unknown>
        const { result } = await verdictOf(() => queue.enqueue(payload, options))
        if (!result) continue
        if (result.created) ids.push(result.id)
        if (result.created) accepted.push(one as EnqueueItem<unknown>)
        else expect(accepted.map(({ dedupKey }) => dedupKey)).toContain(options.dedupKey)
      }
      const others = await verdictOf(() =>
        queue.enqueueMany(accepted.map((one, i) => ({ ...one, dedupKey: `many ${i}` }))),
      )
      expect(others.error).toBeUndefined()
      const stored = await test.sql.unsafe<Stored[]>(
        `select id, (extract(epoch from due_at) * 1000000)::bigint as "dueMicros", dedup_key as "dedupKey" from ${test.schema}.messages where id = any($1::bigint[])`,
        [ids],
      )
      const messages = await queue.dequeue({ max: 100 })
      for (const message of messages) {
        const i = [ids, others.result!.map(({ id }) => id)]
          .map((all) => all.indexOf(message.id))
          .find((place) => place >= 0)!
        const wanted = accepted[i]!
        const asJson = (value: unknown): string => canonical(JSON.parse(JSON.stringify(value)))
        expect(canonical(message.payload)).toBe(asJson(wanted.payload))
        expect(canonical(message.headers)).toBe(asJson(wanted.headers ?? {}))
        expect(message.priority).toBe(wanted.priority ?? 0)
        if (wanted.at)
          expect(message.dueAt.getTime()).toBe(
            Number((microsOf(wanted.at) - (((microsOf(wanted.at) % 1000n) + 1000n) % 1000n)) / 1000n),
          )
      }
      for (const { id, dueMicros, dedupKey } of stored) {
        const wanted = accepted[ids.indexOf(id)]!
        expect(dedupKey).toBe(wanted.dedupKey ?? null)
        if (wanted.at) expect(BigInt(dueMicros)).toBe(microsOf(wanted.at))
      }
      const isDue = ({ at: due }: EnqueueItem<unknown>): boolean =>
        !due || Number(microsOf(due)) / 1000 < Date.now() - 1000
      expect(messages.length).toBeGreaterThanOrEqual(2 * accepted.filter(isDue).length)
    },
  )
})

describe('names', () => {
  fuzz('a queue has the name it was given, or none', 10, [fc.oneof(text, anything)], async (name) => {
    const { result } = await verdictOf(() => clients.pg.queue(name as string).stats())
    if (result) expect(result.queue).toBe(name)
  })
})

// --- internal ---

/** Microseconds since 1970, exactly. Calendars of other makers must come to the same. */
function microsOf(given: Date | string): bigint {
  if (given instanceof Date) return BigInt(given.getTime()) * 1000n
  const [, day, hour, minute, second, fraction = '', sign, zoneHours = '0', zoneMinutes = '0'] =
    /^(.{10})[T ](\d\d):(\d\d):(\d\d)(?:\.(\d+))?(?:Z|([+-])(\d\d):?(\d\d)?)$/.exec(given)!
  const zoneSeconds = (Number(zoneHours) * 3600 + Number(zoneMinutes) * 60) * (sign === '-' ? -1 : 1)
  const seconds = Number(hour) * 3600 + Number(minute) * 60 + Number(second) - zoneSeconds
  return BigInt(Date.parse(`${day}T00:00:00Z`) + seconds * 1000) * 1000n + BigInt(fraction.padEnd(6, '0'))
}
