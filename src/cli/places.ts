/**
 * The rules over where messages are: each that was enqueued once and in one place, nothing that was not.
 */
import type { Findings } from './findings.js'
import { parseInstant } from './instant.js'
import type { CheckedRun, CheckRule } from './rules.js'
import { ackedAttempt, type Story, wasBeingAcked } from './story.js'

/** Where the messages were when everything had stopped. */
export interface FinalState {
  /** Ids still in the queue, or only how many there are; then a lost message is counted but not named. */
  readonly live: ReadonlySet<string> | number
  readonly dead: ReadonlySet<string>
  readonly cancelled?: ReadonlySet<string>
}

export const placeRules: readonly CheckRule[] = [
  {
    name: 'lost',
    says: 'What was enqueued is acked, or still there.',
    check: (run, findings) => {
      const { sure } = unfinishedOf(run)
      const { live } = run.final
      if (typeof live !== 'number') {
        for (const story of sure) findings.add('lost', story, 'is neither acked nor live, dead or cancelled')
      } else if (live < sure.length) {
        findings.addCount('lost', sure.length - live, `${sure.length} unfinished messages, ${live} live`)
      }
    },
  },
  { name: 'phantom', says: 'Nothing is there that was not enqueued, or was rolled back.', check: checkPhantoms },
  {
    name: 'copied',
    says: 'One enqueue makes one message.',
    check: ({ stories }, findings) => {
      const owners = new Map<string, string>()
      for (const story of stories.values()) {
        for (const record of story.records) {
          if (record.type === 'noted' || !('ref' in record) || record.ref === undefined) continue
          if (record.type === 'enqueued' && record.isNew === false) continue
          const owner = owners.get(record.ref) ?? story.id
          owners.set(record.ref, owner)
          if (owner === story.id) continue
          findings.add('copied', story, `and message ${owner} come from one enqueue, ${record.ref}`)
          break
        }
      }
    },
  },
  {
    name: 'twins',
    says: 'No two messages with one dedup key are live at once.',
    check: ({ stories }, findings) => {
      for (const [key, [first, ...others]] of byDedupKey(stories.values())) {
        let before = first!
        for (const life of others) {
          if (life.from < before.to && before.from < life.to) {
            findings.add('twins', life.story, `was live while message ${before.story.id} was, of dedup key ${key}`)
          }
          if (life.to > before.to) before = life
        }
      }
    },
  },
  {
    name: 'countedTwice',
    says: 'A message is in one place: acked, live, dead or cancelled.',
    check: ({ stories, final }, findings) => {
      for (const story of stories.values()) {
        const places = placesOf(story, final)
        if (places.length > 1) findings.add('countedTwice', story, `is ${places.join(' and ')}`)
      }
    },
  },
]

/** How many messages were acked by a process that did not live to record it. */
export function presumedAcked(run: CheckedRun): number {
  const { sure, acking } = unfinishedOf(run)
  const { live } = run.final
  return typeof live === 'number' ? Math.min(acking, Math.max(0, sure.length + acking - live)) : acking
}

// --- internal ---

/** Messages that their records leave open. */
interface Unfinished {
  /** They exist, so they must be somewhere. */
  readonly sure: readonly Story[]
  /** Their ack may have come through. */
  readonly acking: number
  /** They may never have existed. */
  readonly possible: number
}

function unfinishedOf({ stories, unmatched, final }: CheckedRun): Unfinished {
  const sure: Story[] = []
  let acking = 0
  let possible = unmatched
  for (const story of stories.values()) {
    if (story.existence === 'never' || placesOf(story, final).length > 0) continue
    if (wasBeingAcked(story)) acking += 1
    else if (story.existence === 'committed' || story.claims.length > 0) sure.push(story)
    else possible += 1
  }
  return { sure, acking, possible }
}

function placesOf(story: Story, { live, dead, cancelled }: FinalState): readonly string[] {
  const { id } = story
  return [
    ...(ackedAttempt(story) !== null ? ['acked'] : []),
    ...(typeof live !== 'number' && live.has(id) ? ['live'] : []),
    ...(dead.has(id) ? ['dead'] : []),
    ...(cancelled?.has(id) || story.settles.some(({ how }) => how === 'cancelled') ? ['cancelled'] : []),
  ]
}

function checkPhantoms(run: CheckedRun, findings: Findings): void {
  const { stories, unmatched, final } = run
  for (const story of stories.values()) {
    if (story.existence !== 'never') continue
    const places = placesOf(story, final)
    if (story.claims.length + story.settles.length > 0) {
      findings.add('phantom', story, 'was claimed or settled, but never enqueued')
    } else if (places.length === 1) findings.add('phantom', story, `is ${places[0]}, but its enqueue had failed`)
  }
  let strays = 0
  for (const ids of [final.live, final.dead, final.cancelled ?? new Set<string>()]) {
    if (typeof ids !== 'number') for (const id of ids) if (!stories.has(id)) strays += 1
  }
  if (strays > unmatched) {
    findings.addCount('phantom', strays - unmatched, `${strays} ids found, ${unmatched} enqueues they could come from`)
  }
  if (typeof final.live !== 'number') return
  const { sure, acking, possible } = unfinishedOf(run)
  // Unknown enqueues that already stand for a dead or cancelled stray cannot be live as well.
  const most = sure.length + acking + possible - Math.min(strays, unmatched)
  if (final.live > most) {
    const what = `${final.live} live, at most ${most} were enqueued and unfinished`
    findings.addCount('phantom', final.live - most, what)
  }
}

/** From when to when a message was certainly there, in microseconds since 1970. */
type Life = { readonly story: Story; readonly from: number; readonly to: number }

/** The messages of each key that were claimed, in the order in which they are known to have been there. */
function byDedupKey(stories: Iterable<Story>): ReadonlyMap<string, readonly Life[]> {
  const families = new Map<string, Life[]>()
  for (const story of stories) {
    if (story.dedupKey === null || story.claims.length === 0) continue
    const answered = story.records.flatMap((record) =>
      record.type === 'enqueued' && record.outcome === 'committed' && record.at ? [parseInstant(record.at)] : [],
    )
    const from = Math.min(parseInstant(story.claims[0]!.at), ...answered)
    const life = { story, from, to: parseInstant(story.claims.at(-1)!.at) }
    const family = families.get(story.dedupKey)
    if (family) family.push(life)
    else families.set(story.dedupKey, [life])
  }
  for (const family of families.values()) family.sort((a, b) => a.from - b.from)
  return families
}
