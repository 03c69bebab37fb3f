/** A look that is held up, between the clock that it reads and its commit, while what it had announced runs out. */
import { setTimeout as delay } from 'node:timers/promises'
import { afterAll, beforeAll, expect, it } from 'vitest'
import { type Engine, type EngineSession, startEngine } from '../sql/engine.js'
import { blocked } from '../support/sessions.js'

let engine: Engine
let sessions: readonly EngineSession[]
beforeAll(async () => {
  engine = await startEngine()
  sessions = await Promise.all(Array.from({ length: 4 }, () => engine.session()))
  // Where it is gated, a session stands still once it has read the clock.
  await engine.rows(`
    create or replace function dueq.clock() returns timestamptz language plpgsql volatile as $$
    declare v_now timestamptz := (select coalesce(frozen_at, clock_timestamp()) + shift from ${engine.schema}.test_clock);
    begin
      if current_setting('dueq_test.gated', true) = 'on' then
        perform pg_advisory_lock_shared(9);
        perform pg_advisory_unlock_shared(9);
      end if;
      return v_now;
    end $$`)
})
afterAll(() => engine.close())

it('promise 6i: a look that is held up while its announcement runs out waits for those who saw that', async () => {
  const [first, second, producer, gate] = sessions as [EngineSession, EngineSession, EngineSession, EngineSession]
  const queue = await engine.queue(`poll_interval => '5 seconds'`)
  const hints = new Map<EngineSession, string>()
  /** In how many milliseconds it looks again. */
  const look = async (session: EngineSession): Promise<number> => {
    const rows = await session.rows<{ hint: string; nextMs: number | null }>(
      `select next_hint as hint, (extract(epoch from next_ready_at - polled_at) * 1000)::float8 as "nextMs"
         from dueq.poll($1, 1, hint => $2, listening => true)`,
      [queue, hints.get(session) ?? null],
    )
    const { hint, nextMs } = rows.pop()!
    hints.set(session, hint)
    return nextMs ?? Number.POSITIVE_INFINITY
  }
  while ((await look(first)) < 1_000) await delay(10)

  await engine.travel('19900 milliseconds')
  await gate.rows('select pg_advisory_lock(9)')
  await first.rows(`set dueq_test.gated = 'on'`)
  const heldUp = look(first)
  await blocked(first.pid)
  await engine.travel('1 second')
  await producer.begin()
  await producer.rows(`select id from dueq.enqueue($1, '1')`, [queue])
  await look(second)
  await gate.rows('select pg_advisory_unlock(9)')
  expect(await heldUp).toBeLessThan(1_000)
  expect(await look(first)).toBeLessThan(1_000)
  await producer.commit()
})
