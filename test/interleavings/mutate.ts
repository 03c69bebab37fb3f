/**
 * Breaks a function of a test schema on purpose: part of its source is replaced by exact text.
 *
 * A text that is no longer found fails, so that a mutation cannot quietly stop to be one.
 */
import type { Engine } from '../sql/engine.js'

export type Mutation = {
  readonly name: string
  readonly routine: string
  readonly text: string
  readonly becomes: string
  /** The title of the scene that notices it. */
  readonly scene: string
}

export const mutations: readonly Mutation[] = [
  {
    name: 'a listener does not wait for those who may not know that it sleeps',
    routine: 'poll',
    text: 'v_is_settled := pg_snapshot_xmin(pg_current_snapshot())::text::bigint >= v_hint[11];',
    becomes: 'v_is_settled := true;',
    scene: 'a transaction enqueues while a consumer falls asleep',
  },
  {
    name: 'a listener sleeps after its announcement, without a look',
    routine: 'poll',
    text: 'v_next := v_now; -- what was claimed is no announcement',
    becomes: '-- what was claimed is no announcement',
    scene: 'a transaction enqueues while a consumer falls asleep',
  },
  {
    name: 'above READ COMMITTED an old announcement counts',
    routine: '_wake',
    text: `or current_setting('transaction_isolation') <> 'read committed'`,
    becomes: '',
    scene: 'a transaction with an old snapshot enqueues while a consumer falls asleep',
  },
  {
    name: 'an enqueue has no number when it reads whether anybody sleeps',
    routine: 'enqueue',
    text: ' and pg_current_xact_id() is not null then',
    becomes: ' then',
    scene: 'an enqueue is held up before its insert while a consumer falls asleep',
  },
  {
    name: 'an enqueue wakes nobody',
    routine: '_wake',
    text: 'queue.sleepers_until > v_now or',
    becomes: '',
    scene: 'two consumers fall asleep beside a transaction that enqueues',
  },
  {
    name: 'a claim does not lock its candidates',
    routine: 'poll',
    text: 'for update skip locked\n          ) c;',
    becomes: ') c;',
    scene: 'two claims of the same messages',
  },
  {
    name: 'a claim does not count the attempt',
    routine: 'poll',
    text: 'set attempt = m.attempt + 1,',
    becomes: 'set attempt = m.attempt,',
    scene: 'a late ack in a transaction, the lapse, and the next claim with its ack',
  },
  {
    name: 'an ack does not ask for the attempt',
    routine: 'ack',
    text: 'm.attempt = ack.attempt and ',
    becomes: '',
    scene: 'a late ack in a transaction, the lapse, and the next claim with its ack',
  },
  {
    name: 'an ack that rides in a look does not ask for the attempt',
    routine: '_ack_at_once',
    text: 'v_ids = ids and v_attempts = attempts',
    becomes: 'v_ids = ids',
    scene: 'a late ack that rides in a look, the lapse, and the next claim with its ack',
  },
  {
    name: 'an ack does not ask for the lease',
    routine: 'ack',
    text: ' and m.leased_by is not null',
    becomes: '',
    scene: 'a nack, a late ack of the same attempt, and the next claim',
  },
  {
    name: 'an extension does not ask for the attempt',
    routine: 'extend',
    text: 'm.attempt = extend.attempt and ',
    becomes: '',
    scene: 'an extension, the lapse, and the next claim with its ack',
  },
]

/** Breaks the function, and gives what mends it. */
export async function mutate(engine: Engine, { name, routine, text, becomes }: Mutation): Promise<() => Promise<void>> {
  const source = await engine.value(
    `select pg_get_functiondef(p.oid) from pg_proc p where p.pronamespace = $1::regnamespace and p.proname = $2`,
    [engine.schema, routine],
  )
  if (!source.includes(text)) throw new Error(`${name}: the text is no longer in ${routine}`)
  await engine.rows(source.replace(text, () => becomes))
  return async () => void (await engine.rows(source))
}
