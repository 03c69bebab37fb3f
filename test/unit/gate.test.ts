import { afterEach, beforeEach, expect, it, vi } from 'vitest'
import { createGate, type Gate } from '../../src/gate.js'

beforeEach(() => void vi.useFakeTimers({ now: 1_000_000 }))
afterEach(() => void vi.useRealTimers())

/** One who enters as soon as there is room. */
function start(gate: Gate, onEntered: (leave: () => void) => void) {
  const ask = (): void => {
    if (gate.hasRoom(ask)) onEntered(gate.enter())
  }
  ask()
  return ask
}

function startMany(gate: Gate, count: number) {
  const inside: (() => void)[] = []
  const order: number[] = []
  const asks = Array.from({ length: count }, (_, i) =>
    start(gate, (leave) => {
      inside.push(leave)
      order.push(i)
    }),
  )
  return { inside, order, asks }
}

it('lets 25 in, and as each leaves the next one of those who wait', () => {
  const { inside, order } = startMany(createGate(), 1_000)
  expect(inside).toHaveLength(25)
  while (inside.length > 0) {
    inside.shift()!()
    expect(inside.length).toBeLessThanOrEqual(25)
  }
  expect(order).toEqual(Array.from({ length: 1_000 }, (_, i) => i))
})

it('promise 6: those who do not leave within a second count no more, and may leave all the same', () => {
  const gate = createGate()
  const { inside } = startMany(gate, 60)
  vi.advanceTimersByTime(990)
  expect(inside).toHaveLength(25)
  vi.advanceTimersByTime(30)
  expect(inside).toHaveLength(50)
  for (const leave of inside.splice(0)) leave()
  expect(inside).toHaveLength(10)
  for (const leave of inside) leave()
  expect(startMany(gate, 30).inside).toHaveLength(25)
})

it('promise 6: who was called and does not come, or left, holds up nobody', () => {
  const gate = createGate()
  const { inside } = startMany(gate, 25)
  const lazy = Array.from({ length: 100 }, () => vi.fn())
  for (const onRoom of lazy) gate.hasRoom(onRoom)
  const gone = vi.fn()
  gate.hasRoom(gone)
  gate.forget(gone)
  const late = startMany(gate, 1)
  for (const leave of inside) leave()
  vi.advanceTimersByTime(100)
  expect(late.inside).toHaveLength(1)
  expect(lazy.every((onRoom) => onRoom.mock.calls.length === 1)).toBe(true)
  expect(gone).not.toHaveBeenCalled()
  expect(vi.getTimerCount()).toBe(0)
})
