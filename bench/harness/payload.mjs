// The messages of a measurement.
import { randomBytes } from 'node:crypto'

/** The delay that marks a message whose transaction commits late: of that one consumers note the time, not the lateness. */
export const lateMark = -1

/**
 * Text for a payload whose JSON has about that many bytes. It does not compress, as little of what users send does.
 * @param {number} bytes
 */
export function paddingFor(bytes) {
  const length = Math.max(bytes - '{"t":123456789.123456,"p":""}'.length, 1)
  return randomBytes(length).toString('base64').slice(0, length)
}
