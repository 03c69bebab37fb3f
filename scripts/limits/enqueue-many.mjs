// Large batches: one array in one statement, and an endless iterable in chunks.
import { Readable } from 'node:stream'

export default async function enqueueMany({ dueq, step }) {
  await dueq.ensure([{ name: 'bulk', payload: undefined, settings: {} }])
  const queue = dueq.queue('bulk')
  const items = (count, more = () => ({})) =>
    Array.from({ length: count }, (_, n) => ({ payload: payload(n), ...more(n) }))
  const refused = { '~standard': { version: 1, vendor: 'limits', validate: (value) => ({ value }) } }

  await step('an array', 10_000, () => queue.enqueueMany(items(10_000)))
  await step('an array', 100_000, () => queue.enqueueMany(items(100_000)))
  await step('an array, with a schema', 100_000, () =>
    dueq.queue({ name: 'bulk', payload: refused, settings: {} }).enqueueMany(items(100_000)),
  )
  await step('an array, each with a delay and headers', 100_000, () =>
    queue.enqueueMany(items(100_000, (n) => ({ delay: `${(n % 100) + 1}h`, headers: { trace: `trace-${n}` } }))),
  )
  await step('an array, dedup keys ascending', 100_000, () =>
    queue.enqueueMany(items(100_000, (n) => ({ dedupKey: `up-${String(n).padStart(9, '0')}` }))),
  )
  await step('an array, dedup keys descending', 100_000, () =>
    queue.enqueueMany(items(100_000, (n) => ({ dedupKey: `down-${String(999_999_999 - n)}` }))),
  )
  await step('an array, the same dedup keys again', 100_000, () =>
    queue.enqueueMany(items(100_000, (n) => ({ dedupKey: `up-${String(n).padStart(9, '0')}` }))),
  )
  await step('an array of 10 kB payloads (100 MB)', 10_000, () =>
    queue.enqueueMany(Array.from({ length: 10_000 }, (_, n) => ({ payload: `${n}${'x'.repeat(10_000)}` }))),
  )
  await step('an array of 1 MB payloads (300 MB)', 300, () =>
    queue.enqueueMany(Array.from({ length: 300 }, (_, n) => ({ payload: `${n}${'x'.repeat(1_000_000)}` }))),
  )
  await step('an array of 1 MB payloads (600 MB)', 600, () =>
    queue.enqueueMany(Array.from({ length: 600 }, (_, n) => ({ payload: `${n}${'x'.repeat(1_000_000)}` }))),
  )
  await step('an array', 1_000_000, () => queue.enqueueMany(items(1_000_000)))
  await step('an async iterable', 1_000_000, async () => {
    async function* many() {
      for (let n = 0; n < 1_000_000; n++) yield { payload: payload(n) }
    }
    await queue.enqueueMany(many())
  })
  await step('a stream', 100_000, () => queue.enqueueMany(Readable.from(items(100_000))))
}

/** About 150 bytes of JSON. */
function payload(n) {
  return {
    n,
    kind: 'reminder',
    text: 'Your appointment begins in ten minutes.',
    address: `user-${n}@example.org`,
    tags: ['a', 'b'],
  }
}
