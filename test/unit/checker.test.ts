import { describe, expect, it } from 'vitest'
import { type CheckReport, checkJournals, type FinalState, type Rule } from '../../src/cli/checker.js'
import { ruleNames } from '../../src/cli/findings.js'
import type {
  ClaimedRecord,
  EnqueuedRecord,
  JournalRecord,
  SettledRecord,
  SettlingRecord,
} from '../../src/cli/journal.js'

const DUE = '2026-01-01T00:00:10.000000Z'

/** The instant so many seconds after 00:00 on the day of the run. */
const second = (seconds: number): string => new Date(Date.UTC(2026, 0, 1) + seconds * 1000).toISOString()

const enqueued = (id: string | null, more: Partial<EnqueuedRecord> = {}): EnqueuedRecord => ({
  type: 'enqueued',
  id,
  ref: `ref-${id}`,
  dueAt: DUE,
  outcome: 'committed',
  ...more,
})

/** Claims at a second of the run, with a lease of 30 s. */
const claimed = (id: string, attempt: number, atSeconds: number, more: Partial<ClaimedRecord> = {}): ClaimedRecord => ({
  type: 'claimed',
  id,
  attempt,
  consumer: `consumer-${attempt}`,
  at: second(atSeconds),
  dueAt: DUE,
  leaseEndsAt: second(atSeconds + 30),
  latenessMs: (atSeconds - 10) * 1000,
  ...more,
})

const settled = (id: string, attempt: number, how: SettledRecord['how']): SettledRecord => ({
  type: 'settled',
  id,
  attempt,
  how,
  at: second(99),
})

const settling = (id: string, attempt: number, how: SettlingRecord['how']): SettlingRecord => ({
  type: 'settling',
  id,
  attempt,
  how,
})

const delivered = (id: string): JournalRecord[] => [enqueued(id), claimed(id, 1, 10), settled(id, 1, 'acked')]

const EMPTY: FinalState = { live: new Set(), dead: new Set() }

const RULES = ruleNames

/** Only the rules that were broken, with their counts. */
const broken = (report: CheckReport): Partial<Record<Rule, number>> => {
  expect(report.ok).toBe(RULES.every((rule) => report[rule] === 0))
  return Object.fromEntries(RULES.filter((rule) => report[rule] > 0).map((rule) => [rule, report[rule]]))
}

async function check(records: JournalRecord[], final: FinalState = EMPTY): Promise<Partial<Record<Rule, number>>> {
  // The order in which journals are read must not matter, so every log is checked in two.
  const report = await checkJournals(records, final)
  const reversed = await checkJournals(records.toReversed(), final)
  expect(broken(reversed)).toEqual(broken(report))
  return broken(report)
}

const LAPSE = [
  enqueued('1'),
  claimed('1', 1, 10),
  claimed('1', 2, 40),
  settled('1', 1, 'refused'),
  settled('1', 2, 'acked'),
]

describe('a clean log', () => {
  it('passes and is counted', async () => {
    const records = [
      ...delivered('1'),
      ...[
        enqueued('2'),
        claimed('2', 1, 10),
        settled('2', 1, 'retried'),
        claimed('2', 2, 12),
        settled('2', 2, 'acked'),
      ],
      ...[
        enqueued('3'),
        claimed('3', 1, 10),
        claimed('3', 2, 40),
        settled('3', 1, 'refused'),
        settled('3', 2, 'acked'),
      ],
      ...[enqueued('4'), claimed('4', 1, 10), settled('4', 1, 'dead')],
      enqueued('5'),
      enqueued('6'),
      enqueued(null, { ref: 'a', outcome: 'failed' }),
      enqueued(null, { ref: 'b', outcome: 'unknown' }),
    ]
    const report = await checkJournals(records, {
      live: new Set(['5']),
      dead: new Set(['4']),
      cancelled: new Set(['6']),
    })
    expect(report).toMatchObject({
      ...{ ok: true, enqueued: 8, committed: 6, unknown: 1, delivered: 4, claims: 6, acked: 3 },
      ...{ duplicates: 2, explainedDuplicates: 2, presumedAcked: 0, problems: [] },
    })
  })

  it('reads an asynchronous stream as well', async () => {
    async function* stream(): AsyncGenerator<JournalRecord> {
      yield* delivered('1')
    }
    expect(await checkJournals(stream(), EMPTY)).toMatchObject({ ok: true, acked: 1 })
  })
})

describe('early', () => {
  const at = (instant: string, more: Partial<ClaimedRecord> = {}): JournalRecord[] => [
    enqueued('1'),
    claimed('1', 1, 10, { at: instant, ...more }),
    settled('1', 1, 'acked'),
  ]

  it('lets a claim pass at the microsecond it is due', async () => {
    expect(await check(at('2026-01-01T00:00:10.000000Z'))).toEqual({})
  })
  it('catches one microsecond', async () => {
    expect(await check(at('2026-01-01T00:00:09.999999Z'))).toEqual({ early: 1 })
  })
  it('catches a claim before a retry was ready again', async () => {
    expect(await check(at(second(11), { readyAt: '2026-01-01T00:00:11.000001Z' }))).toEqual({ early: 1 })
  })
  it('holds a claim against the instant that was asked for, whatever the queue made of it', async () => {
    expect(await check(at(second(5), { dueAt: second(5) }))).toEqual({ early: 1 })
  })
  it('lets a message be rescheduled to sooner', async () => {
    expect(await check([...at(second(5), { dueAt: second(5) }), enqueued('1', { dueAt: second(5) })])).toEqual({})
  })
})

describe('shared', () => {
  it('lets a claim pass at the end of the lease', async () => {
    expect(await check(LAPSE)).toEqual({})
  })
  it('catches a claim one microsecond before the lease ends', async () => {
    const claim = claimed('1', 2, 0, { at: '2026-01-01T00:00:39.999999Z' })
    expect(await check([enqueued('1'), claimed('1', 1, 10), claim, settled('1', 2, 'acked')])).toEqual({ shared: 1 })
  })
  it('counts extensions of the lease', async () => {
    expect(await check([...LAPSE, { type: 'extended', id: '1', attempt: 1, leaseEndsAt: second(41) }])).toEqual({
      shared: 1,
    })
    expect(await check([...LAPSE, { type: 'extended', id: '1', attempt: 1, leaseEndsAt: second(39) }])).toEqual({})
  })
  it.each(['retried', 'released'] as const)('lets a claim follow one that was %s', async (how) => {
    const records = [enqueued('1'), claimed('1', 1, 10), claimed('1', 2, 11), settled('1', 2, 'acked')]
    expect(await check([...records, settled('1', 1, how)])).toEqual({})
    expect(await check([...records, settling('1', 1, how)])).toEqual({})
    expect(await check([...records, settling('1', 1, how), settled('1', 1, 'refused')])).toEqual({ shared: 1 })
  })
  it('takes no retry of an older attempt as the explanation', async () => {
    const records = [claimed('1', 1, 10), settled('1', 1, 'retried'), claimed('1', 2, 11), claimed('1', 3, 12)]
    expect(await check([enqueued('1'), ...records, settled('1', 3, 'acked')])).toEqual({ shared: 1 })
  })
  it.each(['acked', 'dead'] as const)(
    'catches a delivery after the message was %s, long after the lease',
    async (how) => {
      const records = [enqueued('1'), claimed('1', 1, 10), settled('1', 1, how), claimed('1', 2, 90)]
      expect(await check(records, how === 'dead' ? { ...EMPTY, dead: new Set(['1']) } : EMPTY)).toEqual({
        unexplained: 1,
      })
    },
  )
})

describe('early by another clock', () => {
  const heard = (heardBy: string): JournalRecord[] => [
    enqueued('1'),
    claimed('1', 1, 10, { heardBy }),
    settled('1', 1, 'acked'),
  ]
  it('catches an engine whose own clock is ahead: the message was there before it was due', async () => {
    expect(await check(heard('2026-01-01T00:00:10.000000Z'))).toEqual({})
    expect(await check(heard('2026-01-01T00:00:09.999999Z'))).toEqual({ early: 1 })
  })
})

describe('unfenced', () => {
  const log = (askedAt: number, how: SettlingRecord['how'] = 'retried'): JournalRecord[] => [
    ...[enqueued('1'), claimed('1', 1, 10), claimed('1', 2, 40), claimed('1', 3, 90), settled('1', 3, 'acked')],
    ...[{ ...settling('1', 1, how), at: second(askedAt) }, settled('1', 1, how)],
  ]
  it.each(['retried', 'released'] as const)(
    'catches what was %s when the next claim was there already',
    async (how) => {
      expect(await check(log(39, how))).toEqual({})
      expect(await check(log(41, how))).toEqual({ unfenced: 1 })
    },
  )
  it('lets a settle pass that was asked for in the millisecond of the next claim', async () => {
    expect(await check(log(40.001))).toEqual({})
    expect(await check(log(40.002))).toEqual({ unfenced: 1 })
  })
  it('believes nothing of a settle whose beginning nobody wrote down', async () => {
    const records = log(41).map((record) => (record.type === 'settling' ? settling('1', 1, 'retried') : record))
    expect(await check(records)).toEqual({})
  })
})

describe('copied', () => {
  const claim = (id: string): JournalRecord[] => [claimed(id, 1, 10, { ref: 'one' }), settled(id, 1, 'acked')]
  it('catches two messages of one enqueue', async () => {
    expect(await check([enqueued('1', { ref: 'one' }), ...claim('1')])).toEqual({})
    expect(await check([enqueued('1', { ref: 'one' }), ...claim('1'), ...claim('2')])).toEqual({ copied: 1 })
    expect(await check([enqueued(null, { ref: 'one', outcome: 'unknown' }), ...claim('1'), ...claim('2')])).toEqual({
      copied: 1,
    })
  })
  it('lets an enqueue answer with the message that has its dedup key', async () => {
    const other = enqueued('1', { ref: 'two', isNew: false, dedupKey: 'k' })
    expect(await check([enqueued('1', { ref: 'one', dedupKey: 'k' }), other, ...claim('1')])).toEqual({})
  })
})

describe('twins', () => {
  const one = (id: string, enqueuedAt: number, claimedAt: number): JournalRecord[] => [
    enqueued(id, { dedupKey: 'k', at: second(enqueuedAt) }),
    claimed(id, 1, claimedAt),
    settled(id, 1, 'acked'),
  ]
  it('lets a dedup key be used again when its message is gone', async () => {
    expect(await check([...one('1', 1, 10), ...one('2', 11, 12)])).toEqual({})
  })
  it('catches a second message while the first has still to be claimed', async () => {
    expect(await check([...one('1', 1, 12), ...one('2', 11, 14)])).toEqual({ twins: 1 })
  })
})

describe('attempts', () => {
  it('catches one attempt claimed twice', async () => {
    expect(await check([...delivered('1'), claimed('1', 1, 50)])).toEqual({ attemptReused: 1 })
  })
  it('catches an attempt that fell', async () => {
    expect(await check([enqueued('1'), claimed('1', 2, 10), claimed('1', 1, 50), settled('1', 2, 'acked')])).toEqual({
      attemptFell: 1,
    })
  })
  it('lets attempts skip the numbers of processes that died before they wrote', async () => {
    expect(await check([enqueued('1'), claimed('1', 1, 10), claimed('1', 3, 70), settled('1', 3, 'acked')])).toEqual({})
  })
})

describe('settled twice', () => {
  it('catches an attempt settled twice', async () => {
    expect(await check([...delivered('1'), settled('1', 1, 'retried')])).toEqual({ settledTwice: 1 })
  })
  it('catches a settle after the ack', async () => {
    expect(await check([...delivered('1'), settled('1', 2, 'retried')])).toEqual({ settledTwice: 1 })
  })
  it('does not count what was refused', async () => {
    expect(await check([...delivered('1'), settled('1', 1, 'refused')])).toEqual({})
  })
})

describe('lost and counted twice', () => {
  it('catches a committed message that is nowhere', async () => {
    expect(await check([enqueued('1')])).toEqual({ lost: 1 })
    expect(await check([enqueued('1'), claimed('1', 1, 10), settled('1', 1, 'retried')])).toEqual({ lost: 1 })
  })
  it('catches it when only the number of live messages is known', async () => {
    const records = [enqueued('1'), enqueued('2'), enqueued('3')]
    expect(await check(records, { live: 3, dead: new Set() })).toEqual({})
    expect(await check(records, { live: 1, dead: new Set() })).toEqual({ lost: 2 })
    expect(await check(records, { live: 4, dead: new Set() })).toEqual({ phantom: 1 })
  })
  it('catches a message that is in two places', async () => {
    expect(await check(delivered('1'), { ...EMPTY, live: new Set(['1']) })).toEqual({ countedTwice: 1 })
    expect(await check([enqueued('1')], { live: new Set(['1']), dead: new Set(['1']) })).toEqual({ countedTwice: 1 })
    expect(await check(delivered('1'), { ...EMPTY, cancelled: new Set(['1']) })).toEqual({ countedTwice: 1 })
  })
  it('lets an ack be unrecorded only if it was announced', async () => {
    const records = [enqueued('1'), claimed('1', 1, 10)]
    expect(await check(records)).toEqual({ lost: 1 })
    expect(await check([...records, settling('1', 1, 'acked'), settled('1', 1, 'refused')])).toEqual({ lost: 1 })
    const report = await checkJournals([...records, settling('1', 1, 'acked')], EMPTY)
    expect(report).toMatchObject({ ok: true, acked: 0, presumedAcked: 1 })
    for (const live of [new Set(['1']), 1]) {
      const still = await checkJournals([...records, settling('1', 1, 'acked')], { ...EMPTY, live })
      expect(still).toMatchObject({ ok: true, presumedAcked: 0 })
    }
  })
  it('lets an enqueue of unknown outcome exist or not, but not vanish once it was delivered', async () => {
    const unknown = enqueued(null, { ref: 'r', outcome: 'unknown' })
    expect(await check([unknown])).toEqual({})
    expect(await check([unknown], { ...EMPTY, live: new Set(['7']) })).toEqual({})
    expect(await check([unknown], { ...EMPTY, live: 1 })).toEqual({})
    expect(await check([unknown], { ...EMPTY, live: new Set(['7', '8']) })).toEqual({ phantom: 1 })
    const claim = claimed('7', 1, 10, { ref: 'r' })
    expect(await check([unknown, claim, settled('7', 1, 'acked')])).toEqual({})
    expect(await check([unknown, claim])).toEqual({ lost: 1 })
  })
  it('lets a later record decide an announced enqueue', async () => {
    const unknown = enqueued(null, { ref: 'ref-1', outcome: 'unknown' })
    const report = await checkJournals([unknown, ...delivered('1')], EMPTY)
    expect(report).toMatchObject({ ok: true, enqueued: 1, committed: 1, unknown: 0 })
  })
})

describe('phantom', () => {
  it('catches a message nobody enqueued', async () => {
    expect(await check([claimed('9', 1, 10), settled('9', 1, 'acked')])).toEqual({ phantom: 1 })
    expect(await check([settled('9', 1, 'acked')])).toEqual({ phantom: 1 })
    expect(await check([], { ...EMPTY, dead: new Set(['9']) })).toEqual({ phantom: 1 })
  })
  it('catches a message whose enqueue had failed', async () => {
    const failed = enqueued(null, { ref: 'r', outcome: 'failed' })
    expect(await check([failed, claimed('9', 1, 10, { ref: 'r' }), settled('9', 1, 'acked')])).toEqual({ phantom: 1 })
    expect(await check([enqueued('9', { outcome: 'failed' })], { ...EMPTY, live: new Set(['9']) })).toEqual({
      phantom: 1,
    })
  })
})

describe('problems', () => {
  it('tell the story of the message in order', async () => {
    const extension = (seconds: number): JournalRecord => ({
      type: 'extended',
      id: '1',
      attempt: 1,
      leaseEndsAt: second(seconds),
    })
    const [enqueue, first, secondClaim, refusal, ack] = LAPSE as [EnqueuedRecord, ...JournalRecord[]]
    const records = [ack!, refusal!, extension(45), extension(50), secondClaim!, first!, enqueue, ...delivered('2')]
    const { problems } = await checkJournals(records, EMPTY)
    expect(problems).toEqual([
      {
        rule: 'shared',
        id: '1',
        message: 'message 1 attempt 2 was claimed while attempt 1 held it',
        story: [enqueue, first, extension(50), refusal, secondClaim, ack],
      },
    ])
  })
  it('are bounded while counts are not', async () => {
    const report = await checkJournals(
      Array.from({ length: 50 }, (_, index) => enqueued(String(index))),
      EMPTY,
    )
    expect(report.lost).toBe(50)
    expect(report.problems).toHaveLength(20)
  })
})
