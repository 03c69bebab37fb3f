import { expect, it } from 'vitest'
import { fromDatabase } from '../../src/database-errors.js'

const error = (code: string, message: string, severity: string): Error =>
  Object.assign(new Error(message), { code, severity })

it('a pooler that refuses a password says so with its advice, and nothing was sent', () => {
  const refused = fromDatabase(error('08P01', 'password authentication failed for user "x"', 'FATAL'))
  expect(refused).toMatchObject({ code: 'database.credentials', isOutcomeUnknown: false })
  expect(refused.message).toContain('Check the user and password')
})

it.each([
  ['XX000', 'DbHandler exited'],
  ['57P04', 'terminating connection because database was dropped'],
])('a connection that ends with %s (%s) may end after the commit', (code, message) => {
  expect(fromDatabase(error(code, message, 'FATAL'))).toMatchObject({
    code: 'database.unreachable',
    isOutcomeUnknown: true,
  })
})

it('an internal error of PostgreSQL took no effect', () => {
  const internal = fromDatabase(error('XX000', 'cache lookup failed for function 1', 'ERROR'))
  expect(internal).toMatchObject({ code: 'database.error', isOutcomeUnknown: false })
})
