import { defineConfig } from 'vitest/config'

// One server for the whole run, three processes on it: more of them only take the server's processor away. No retries:
// a test that fails once in a hundred runs has found something.
export default defineConfig({
  test: {
    include: ['test/**/*.test.ts'],
    globalSetup: ['test/support/global-setup.ts'],
    pool: 'forks',
    maxWorkers: 3,
    retry: 0,
    testTimeout: 20_000,
    hookTimeout: 30_000,
  },
})
