/**
 * Random runs of everything at once, judged by the promises: nothing lost, nothing early, nothing settled twice, and no
 * message waits for longer than promise 6 says while somebody has a hand free for it.
 *
 *     npm run test:random                                    20 runs of each kind
 *     DUEQ_SEED=… DUEQ_RANDOM_RUNS=1 npx vitest run test/random   the scripts of that seed again (what races they win is chance)
 */
import fc from 'fast-check'
import { expect } from 'vitest'
import { itListens } from '../client/client.js'
import { runScript } from './run.js'
import { polled, quiet, type Script, woken } from './script.js'

const seed = process.env['DUEQ_SEED']
const numRuns = Number(process.env['DUEQ_RANDOM_RUNS'] ?? 1)

itListens.each([
  [
    'promises 1 to 6: whoever sleeps is woken by the one thing that happens, in a transaction that began before as well',
    quiet,
  ],
  ['promises 1 to 6: with notifications nobody waits for the poll interval, whatever happens to messages', woken],
  ['promises 1 to 6: with notifications lost nobody waits for longer than the poll interval', polled],
] as readonly [string, fc.Arbitrary<Script>][])(
  '%s',
  async (title, script) => {
    await fc.assert(
      fc.asyncProperty(script, async (drawn) => {
        const { summary, ...faults } = await runScript(drawn)
        console.log(`${title.split(': ')[1]}: ${summary}`)
        expect(faults).toEqual({ problems: [], overdue: [], errors: [] })
      }),
      // A run lasts seconds, and what it shows may be a race: the same script again proves little.
      { numRuns, endOnFailure: true, ...(seed === undefined ? {} : { seed: Number(seed) }) },
    )
  },
  120_000 + numRuns * 60_000,
)
