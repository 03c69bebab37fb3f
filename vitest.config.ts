import { defineConfig } from 'vitest/config'

// One server for the whole run, three processes on it: more of them only take the server's processor away. No retries:
// a test that fails once in a hundred runs has found something. The timeouts are for what hangs, so they are far beyond what
// any test takes on a machine that is busy with other things.
export default defineConfig({
  test: {
    include: ['test/**/*.test.ts'],
    globalSetup: ['test/support/global-setup.ts'],
    pool: 'forks',
    maxWorkers: 3,
    retry: 0,
    testTimeout: 60_000,
    hookTimeout: 60_000,
    // Below the poll interval that queues have by default: what is found within this was not found by polling.
    expect: { poll: { timeout: 4_000 } },
  },
})
