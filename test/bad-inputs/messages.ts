// Bad messages, times, ids and settles in the TypeScript client.
import type { EnqueueItem } from '../../src/index.js'
import type { BadInput } from './row.js'

const any = (value: unknown): never => value as never

export const messages: readonly BadInput[] = [
  ['delay and at', 'delay.and_at', /Give one of them/, ({ queue }) => queue.enqueue(1, { delay: 1, at: new Date() })],
  ['a negative delay', 'duration.invalid', /`delay`.*got `-1`/, ({ queue }) => queue.enqueue(1, { delay: -1 })],
  ['a delay of NaN', 'duration.invalid', /got `NaN`/, ({ queue }) => queue.enqueue(1, { delay: Number.NaN })],
  [
    'an endless delay',
    'duration.invalid',
    /`Infinity`/,
    ({ queue }) => queue.enqueue(1, { delay: Number.POSITIVE_INFINITY }),
  ],
  [
    'a delay of a century and more',
    'duration.invalid',
    /to 36000d/,
    ({ queue }) => queue.enqueue(1, { delay: '36501d' }),
  ],
  [
    'a delay that is an object',
    'duration.invalid',
    /an object/,
    ({ queue }) => queue.enqueue(1, { delay: any({ minutes: 1 }) }),
  ],
  [
    'an instant without a zone',
    'instant.invalid',
    /with a zone/,
    ({ queue }) => queue.enqueue(1, { at: '2031-01-31T09:00:00' }),
  ],
  ['an invalid Date', 'instant.invalid', /an invalid Date/, ({ queue }) => queue.enqueue(1, { at: new Date('x') })],
  [
    'the 30th of February',
    'instant.invalid',
    /instant that exists/,
    ({ queue }) => queue.enqueue(1, { at: '2031-02-30T00:00:00Z' }),
  ],
  [
    'an instant beyond all calendars',
    'instant.invalid',
    /instant that exists/,
    ({ queue }) => queue.enqueue(1, { at: new Date(8.64e15) }),
  ],
  [
    'an instant in 200 years',
    'option.invalid',
    /100 years ahead/,
    ({ queue }) => queue.enqueue(1, { at: '2231-01-31T09:00:00Z' }),
  ],
  [
    'epoch milliseconds as an instant',
    'instant.invalid',
    /\(number\)/,
    ({ queue }) => queue.enqueue(1, { at: any(Date.now()) }),
  ],
  ['a priority out of range', 'option.invalid', /from -100 to 100/, ({ queue }) => queue.enqueue(1, { priority: 101 })],
  ['a priority as a text', 'option.invalid', /`1` \(string\)/, ({ queue }) => queue.enqueue(1, { priority: any('1') })],
  ['an empty dedup key', 'option.invalid', /1 to 512 bytes/, ({ queue }) => queue.enqueue(1, { dedupKey: '' })],
  [
    'a dedup key of 513 bytes',
    'option.invalid',
    /1 to 512 bytes/,
    ({ queue }) => queue.enqueue(1, { dedupKey: `${'é'.repeat(256)}x` }),
  ],
  [
    'half a character in a dedup key',
    'option.invalid',
    /surrogates/,
    ({ queue }) => queue.enqueue(1, { dedupKey: '\ud83c' }),
  ],
  ['headers that are an array', 'headers.invalid', /an object/, ({ queue }) => queue.enqueue(1, { headers: any([1]) })],
  [
    'headers above 64 kB',
    'option.invalid',
    /64 kB/,
    ({ queue }) => queue.enqueue(1, { headers: { a: noise(70_000) } }),
  ],
  ['an option misspelt', 'option.unknown', /did you mean `delay`/, ({ queue }) => queue.enqueue(1, any({ dealy: 1 }))],
  [
    'options that are null',
    'option.invalid',
    /to be an object, got `null`/,
    ({ queue }) => queue.enqueue(1, any(null)),
  ],
  ['no payload', 'payload.not_json', /got `undefined`/, ({ queue }) => queue.enqueue(undefined)],
  [
    'a payload of NaN',
    'payload.not_json',
    /NaN at "n" has no JSON form/,
    ({ queue }) => queue.enqueue({ n: Number.NaN }),
  ],
  [
    'a payload above 1 MB',
    'payload.too_large',
    /a reference to it/,
    ({ queue }) => queue.enqueue('x'.repeat(1_048_576)),
  ],
  ['many that are a text', 'option.invalid', /an array/, ({ queue }) => queue.enqueueMany(any('abc'))],
  [
    'many with a hole',
    'option.invalid',
    /Message 1:/,
    ({ queue }) => queue.enqueueMany([{ payload: 1 }, any(undefined)]),
  ],
  [
    'many, one with a bad option',
    'option.unknown',
    /Message 1: Unknown option `prio`/,
    ({ queue }) => queue.enqueueMany([{ payload: 1 }, any({ payload: 2, prio: 1 })]),
  ],
  [
    'a stream that breaks',
    'enqueue.incomplete',
    /after 0 committed messages: broken/,
    ({ queue }) => queue.enqueueMany(broken()),
  ],
  [
    'an unknown queue',
    'queue.unknown',
    /"typo" does not exist.*Create it first/s,
    ({ test }) => test.dueq.queue('typo').enqueue(1),
  ],
  ['numbers of an unknown queue', 'queue.unknown', /ensure/, ({ test }) => test.dueq.queue('typo').stats()],
  ['dequeue of none', 'option.invalid', /`max`.*from 1 to 10000/, ({ queue }) => queue.dequeue({ max: 0 })],
  ['a wait of two days', 'duration.invalid', /`wait`.*to 1d/, ({ queue }) => queue.dequeue({ wait: '2d' })],
  ['a wait that is aborted', 'aborted', /was aborted/, ({ queue }) => queue.dequeue({ signal: AbortSignal.abort() })],
  [
    'cancel of a message under a lease',
    'message.leased',
    /in the hands of a consumer/,
    ({ test, leased }) => test.dueq.cancel(leased.id),
  ],
  [
    'cancel of a message that is gone',
    'message.not_found',
    /settled or cancelled, or never/,
    ({ test }) => test.dueq.cancel('999999'),
  ],
  ['a number as an id', 'option.invalid', /a string of digits/, ({ test }) => test.dueq.cancel(any(7))],
  [
    'an id beyond bigint',
    'option.invalid',
    /a string of digits/,
    ({ test }) => test.dueq.cancel('9223372036854775808'),
  ],
  [
    'reschedule to nowhere',
    'delay.and_at',
    /one of `delay` and `at`/,
    ({ test, leased }) => test.dueq.reschedule(leased.id, any({})),
  ],
  ['a second settle', 'message.settled', /is settled already \(acked\)/, ({ settled }) => settled.nack()],
  ['a late settle', 'lease.lost', /delivered again/, ({ stale }) => stale.ack()],
  ['a dead letter without a reason', 'option.invalid', /reason/, ({ leased }) => leased.deadLetter('')],
  ['a reason with U+0000', 'option.invalid', /0x00/, ({ leased }) => leased.deadLetter('a\u0000')],
  [
    'dropping a queue that holds messages',
    'queue.not_empty',
    /Remove what it holds first/,
    ({ queue }) => queue.drop(),
  ],
]

/** Text that does not compress. */
function noise(length: number): string {
  let seed = 1
  return Array.from({ length }, () => String.fromCharCode(33 + ((seed = (seed * 48_271) % 2_147_483_647) % 90))).join(
    '',
  )
}

async function* broken(): AsyncGenerator<EnqueueItem<unknown>> {
  yield { payload: 1 }
  throw new Error('broken')
}
