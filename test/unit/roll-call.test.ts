import { setTimeout as delay } from 'node:timers/promises'
import { expect, it } from 'vitest'
import { createRollCall } from '../../src/roll-call.js'

const names = (count: number): number[] => Array.from({ length: count }, (_, i) => i)

it('a few are called at once, of many only some, and the rest in their order later', async () => {
  const called: number[] = []
  const rollCall = createRollCall<number>((one) => called.push(one))
  rollCall.begin(names(10))
  expect(called).toEqual(names(10))
  called.length = 0
  rollCall.begin(names(1000))
  expect(called.length).toBeLessThan(100)
  while (called.length < 1000) await delay(5)
  expect(called).toEqual(names(1000))
})

it('after clear nobody is called any more, until it begins again', async () => {
  const called: number[] = []
  const rollCall = createRollCall<number>((one) => called.push(one))
  rollCall.begin(names(1000))
  rollCall.clear()
  called.length = 0
  rollCall.begin([7])
  expect(called).toEqual([7])
})

it('one who is still to be called is called once, and keeps its place', async () => {
  const called: number[] = []
  const rollCall = createRollCall<number>((one) => called.push(one))
  rollCall.begin(names(100))
  rollCall.begin([99, 98])
  while (called.length < 100) await delay(5)
  await delay(30)
  expect(called).toEqual(names(100))
})

it('one who left is not called, and nobody is after the end', async () => {
  const called: number[] = []
  const rollCall = createRollCall<number>((one) => called.push(one))
  rollCall.begin(names(60))
  rollCall.remove(40)
  while (called.length < 50) await delay(1)
  expect(called).not.toContain(40)
  called.length = 0
  rollCall.begin(names(1000))
  rollCall.clear()
  const before = called.length
  await delay(50)
  expect(called.length).toBe(before)
})
