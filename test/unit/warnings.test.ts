// What is told where nobody passed `onEvent`.
import { afterEach, expect, it, vi } from 'vitest'
import { DueqError } from '../../src/errors.js'
import { createEmitter } from '../../src/events.js'

afterEach(() => {
  vi.restoreAllMocks()
  vi.useRealTimers()
})

it('a warning comes once for each type and code: a wrong password after a lost connection is not passed over', () => {
  const warn = vi.spyOn(process, 'emitWarning').mockImplementation(() => {})
  const emit = createEmitter(undefined)
  const lost = new DueqError('database.unreachable', 'the connection was closed')
  const refused = new DueqError('database.credentials', 'password authentication failed')
  for (const error of [lost, lost, refused, refused, lost]) emit({ type: 'listen.lost', error })
  const texts = warn.mock.calls.map(([text]) => String(text).split(' (further')[0])
  expect(texts).toEqual([lost.message, refused.message])
})

it('a warning is repeated after an hour: the second outage of a process is told, but not every second of it', () => {
  vi.useFakeTimers({ toFake: ['performance'] })
  const warn = vi.spyOn(process, 'emitWarning').mockImplementation(() => {})
  const emit = createEmitter(undefined)
  const error = new DueqError('database.unreachable', 'no connection')
  for (let second = 0; second < 2 * 3600; second++) {
    emit({ type: 'listen.lost', error })
    vi.advanceTimersByTime(1_000)
  }
  expect(warn).toHaveBeenCalledTimes(2)
})
