import * as v from 'valibot'
import { expectTypeOf, it } from 'vitest'
import { z } from 'zod'
import { connect, defineQueue, type Message, type Queue } from '../../src/index.js'

const dueq = connect('postgres://user@127.0.0.1:1/database')
type PayloadOf<T> = T extends { dequeue(): Promise<Message<infer Payload>[]> } ? Payload : never
type EnqueuedTo<T extends { enqueue(payload: never): unknown }> = Parameters<T['enqueue']>[0]

it('a queue with a schema takes its input and delivers its output', () => {
  const withZod = defineQueue('a', {
    payload: z.object({ at: z.string().transform(Number), to: z.string().default('x') }),
  })
  expectTypeOf(withZod).toEqualTypeOf<Queue<{ at: string; to?: string | undefined }, { at: number; to: string }>>()
  const handle = dueq.queue(withZod)
  expectTypeOf<EnqueuedTo<typeof handle>>().toEqualTypeOf<{ at: string; to?: string | undefined }>()
  expectTypeOf<PayloadOf<typeof handle>>().toEqualTypeOf<{ at: number; to: string }>()

  const withValibot = defineQueue('b', { payload: v.object({ at: v.pipe(v.string(), v.transform(Number)) }) })
  expectTypeOf(withValibot).toEqualTypeOf<Queue<{ at: string }, { at: number }>>()
})

it('a queue without a schema has one type for both ends, unknown where none is given', () => {
  const typed = dueq.queue(defineQueue<{ userId: number }>('c', { lease: '30s' }))
  expectTypeOf<EnqueuedTo<typeof typed>>().toEqualTypeOf<{ userId: number }>()
  expectTypeOf<PayloadOf<typeof typed>>().toEqualTypeOf<{ userId: number }>()
  const named = dueq.queue<number>('d')
  expectTypeOf<PayloadOf<typeof named>>().toEqualTypeOf<number>()
  const untyped = dueq.queue('e')
  expectTypeOf<PayloadOf<typeof untyped>>().toEqualTypeOf<unknown>()
})

it('handlers, iterators and transactions know the types too', () => {
  const queue = defineQueue('f', { payload: z.object({ at: z.string().transform(Number) }) })
  type Handler = Parameters<ReturnType<typeof dueq.queue<{ at: string }, { at: number }>>['consume']>[0]
  expectTypeOf<Parameters<Handler>[0]['payload']>().toEqualTypeOf<{ at: number }>()
  const inTransaction = () => dueq.in(async () => []).queue(queue)
  expectTypeOf<EnqueuedTo<ReturnType<typeof inTransaction>>>().toEqualTypeOf<{ at: string }>()
  const iterate = () => dueq.queue(queue).messages()
  expectTypeOf(iterate).returns.toExtend<AsyncIterable<Message<{ at: number }>>>()
})

it('the wrong payload, option or setting does not compile', () => {
  const queue = defineQueue<{ userId: number }>('g')
  const producer = dueq.in(async () => []).queue(queue)
  const wrong = [
    // @ts-expect-error a text is no number
    () => dueq.queue(queue).enqueue({ userId: '7' }),
    // @ts-expect-error no such option
    () => dueq.queue(queue).enqueue({ userId: 7 }, { delya: '10m' }),
    // @ts-expect-error items carry their payload under a name
    () => dueq.queue(queue).enqueueMany([{ userId: 7 }]),
    // @ts-expect-error no such setting
    () => defineQueue('h', { leese: '30s' }),
    // @ts-expect-error a transaction only produces
    () => producer.dequeue(),
    // @ts-expect-error settle verbs take no id
    (message: Message) => message.ack('1'),
  ]
  expectTypeOf(wrong).toBeArray()
})

it('queues of all types can be ensured together', () => {
  const ensure = () =>
    dueq.ensure([defineQueue('i'), defineQueue<number>('j'), defineQueue('k', { payload: z.string() })])
  expectTypeOf(ensure).returns.toEqualTypeOf<Promise<void>>()
})
