/**
 * An embedded server of a test's own, for what no shared server can bear. It does not matter where the server of the run
 * comes from: wherever embedded binaries exist, such a test runs on the major version under test, or on the installed one
 * where that version has none.
 */
import { inject, type TestContext } from 'vitest'
import {
  type EmbeddedOptions,
  type EmbeddedServer,
  EmbeddedUnavailableError,
  startEmbedded,
} from '../../src/cli/embedded.js'

/** Starts a server; skips the test where this platform has no binaries. */
export async function startOwnServer(test: TestContext, options: EmbeddedOptions = {}): Promise<EmbeddedServer> {
  try {
    return await startEmbedded({ major: inject('serverMajor'), ...options }).catch(async (error: unknown) => {
      if (error instanceof EmbeddedUnavailableError) return await startEmbedded(options)
      throw error
    })
  } catch (error) {
    if (error instanceof EmbeddedUnavailableError) test.skip(error.message)
    throw error
  }
}
