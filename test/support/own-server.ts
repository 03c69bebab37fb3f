/**
 * An embedded server of a test's own, for what no shared server can bear. It does not matter where the server of the run
 * comes from: wherever embedded binaries exist, such a test runs on the major version under test, or on the installed one
 * where that version has none or is too old for what the test is about.
 */
import { inject, type TestContext } from 'vitest'
import {
  type EmbeddedOptions,
  type EmbeddedServer,
  EmbeddedUnavailableError,
  startEmbedded,
} from '../../src/cli/embedded.js'

/** What a test needs; `since` is the first major version that can do what the test is about. */
export type OwnServerOptions = Omit<EmbeddedOptions, 'major'> & { readonly since?: number }

/** Starts a server; skips the test where this platform has no binaries. */
export async function startOwnServer(test: TestContext, options: OwnServerOptions = {}): Promise<EmbeddedServer> {
  const { since = 0, ...rest } = options
  const under = inject('serverMajor')
  for (const major of under < since ? [{}] : [{ major: under }, {}]) {
    try {
      return await startEmbedded({ ...rest, ...major })
    } catch (error) {
      if (!(error instanceof EmbeddedUnavailableError)) throw error
    }
  }
  return test.skip('There are no PostgreSQL binaries for this platform')
}
