-- Consuming: poll, the one statement of a consumer, and dequeue, its simple form.

-- _to_dead_letters: moves messages whose rows the caller has locked.
-- Changes: messages, dead_letters. Locks: none beyond the caller's.
create function _to_dead_letters(ids bigint[], reason text, error text, failed integer, lapsed integer) returns void
language plpgsql volatile
as $$
#variable_conflict use_column
declare
  v_now timestamptz := clock();
begin
  with gone as (
    delete from messages m where m.id = any(ids) returning m.*
  )
  insert into dead_letters (
    id, queue_id, priority, due_at, enqueued_at, died_at, attempt, failures, lapses,
    reason, last_error, kind, key, dedup_key, payload, headers
  )
  select g.id, g.queue_id, g.priority, g.due_at, g.enqueued_at, v_now, g.attempt, g.failures + failed, g.lapses + lapsed,
         _to_dead_letters.reason,
         case when lapsed > 0 then format('the lease of attempt %s, held by %s, lapsed', g.attempt, g.leased_by)
              else coalesce(error, g.last_error) end, g.kind, g.key, g.dedup_key, g.payload, g.headers
    from gone g;
end
$$;

-- _is_suspect: whether a message has lapsed so often, half of its budget, that it is handled alone.
create function _is_suspect(lapses integer, max_attempts integer) returns boolean
language sql immutable
as $$ select lapses > 0 and lapses * 2 >= max_attempts $$;

-- _claimable: of locked candidates, those that may be claimed together.
-- A message that has lapsed before may have killed its consumer, and the next one would take along what was claimed with it,
-- each for one failure. So with such a message at most `handlers` are claimed, all of which start at once, and none waits.
-- From half of the budget on it is claimed alone, and the consumer leaves it alone: those that went down with it by chance
-- still have the other half. One that has used up its budget by lapsing goes to the dead letters.
-- `claimed` says how many are claimed already, of levels in front of theirs.
-- Changes: messages, dead_letters (at most the candidates). Locks: none beyond the caller's.
create function _claimable(ids bigint[], claimed integer, handlers integer, max_attempts integer) returns bigint[]
language plpgsql volatile
as $$
#variable_conflict use_column
declare
  v_ids bigint[] := '{}';
  v_exhausted bigint[] := '{}';
  v_limit integer := cardinality(ids);
  m record;
begin
  for m in
    select c.id, c.leased_by is not null as is_lapsed, c.lapses + (c.leased_by is not null)::integer as lapses, c.failures
      from messages c
     where c.id = any(ids)
     order by c.ready_at, c.id
  loop
    if m.is_lapsed and m.failures + 1 >= max_attempts then
      v_exhausted := v_exhausted || m.id;
      continue;
    elsif _is_suspect(m.lapses, max_attempts) then
      exit when claimed + cardinality(v_ids) > 0;
      v_limit := 1;
    elsif m.lapses > 0 then
      v_limit := least(v_limit, handlers - claimed);
    end if;
    exit when cardinality(v_ids) >= v_limit;
    v_ids := v_ids || m.id;
  end loop;
  if cardinality(v_exhausted) > 0 then
    perform _to_dead_letters(v_exhausted, 'lapsed', null, 1, 1);
  end if;
  return v_ids;
end
$$;

-- _affordable: of locked candidates, the first whose payloads have 16 MB of JSON together, and always one. A consumer takes a
-- claim whole: 1,000 payloads of 1 MB blocked its event loop for 5 s and took 2 GB of memory. Looks at one row after the
-- other, because what it counts must be decompressed and written out.
-- Changes: nothing. Locks: none.
create function _affordable(ids bigint[]) returns bigint[]
language plpgsql volatile
as $$
#variable_conflict use_column
declare
  v_ids bigint[] := '{}';
  v_bytes bigint := 0;
  v_id bigint;
begin
  for v_id in
    select c.id from messages c where c.id = any(ids) order by c.ready_at, c.id
  loop
    select v_bytes + octet_length(c.payload::text) into v_bytes from messages c where c.id = v_id;
    exit when v_bytes > 16777216 and cardinality(v_ids) > 0;
    v_ids := v_ids || v_id;
  end loop;
  return v_ids;
end
$$;

-- _ack_at_once: deletes what these (id, attempt) hold, if it can have all of them.
-- Taking the rows with skip locked first, as ack_many does, costs as much again as deleting them. So this tries, and undoes
-- what it did where one is refused, or locked by another transaction for more than a millisecond.
-- Changes: messages. Locks: the rows it deletes. Returns: whether all are acked; nothing is changed where not.
create function _ack_at_once(ids bigint[], attempts integer[]) returns boolean
language plpgsql volatile
set lock_timeout = '1ms'
as $$
#variable_conflict use_column
declare
  v_ids bigint[];
  v_attempts integer[];
begin
  with gone as (
    delete from messages m where m.id = any(ids) and m.leased_by is not null returning m.id, m.attempt
  )
  select array_agg(g.id), array_agg(g.attempt) into v_ids, v_attempts from gone g;
  if v_ids = ids and v_attempts = attempts then
    return true;
  end if;
  raise sqlstate 'DQ000';
exception
  when lock_not_available or deadlock_detected or sqlstate 'DQ000' then
    return false;
end
$$;

-- _announce: tells producers that consumers sleep from now on and want to be woken.
-- Changes: queues.sleepers_until. Locks: the row of the queue, without waiting for it.
-- Returns: false where another transaction has the row.
create function _announce(queue_id integer, sleepers_until timestamptz) returns boolean
language plpgsql volatile
as $$
#variable_conflict use_column
begin
  perform from queues q where q.id = _announce.queue_id for no key update skip locked;
  if found then
    update queues q set sleepers_until = _announce.sleepers_until where q.id = _announce.queue_id;
  end if;
  return found;
end
$$;

-- poll: acks what was handled, claims up to `max` ready messages under a lease, and says when to look again. What a consumer
-- calls.
-- A claim moves ready_at to the end of the lease and counts the attempt; claiming a lapsed message counts a failure.
-- The candidates are locked with SKIP LOCKED, so that consumers never wait for each other, and never share.
-- `handlers` says how many messages the caller starts at once: with one that has lapsed before no more than that are claimed.
-- Large payloads make a claim smaller: 4 MB as they are stored, compressed, may be claimed unseen; of more the first 16 MB of
-- JSON, and next_ready_at says that there is more now.
-- A message with is_suspect has lapsed for half of its budget: nothing should be claimed until it is settled.
--
-- `hint` keeps a look short while an old snapshot keeps vacuum from removing dead index entries: without it every look
-- walks all that were ever there. A look begins
--   near   50 ms before the end of the last one,
--   wide   twice a second, 1 s before the end of the last wide one, or at what that found ready and locked by somebody else:
--          for rows that were committed late, and claims that were rolled back,
--   whole  at the beginning: once in a poll interval, for all that came later still and told nobody.
-- Where others claim in front, near looks pass over all rows that somebody has touched without writing them anew (xmax), as long
-- as there are enough others: finding out with SKIP LOCKED that a row is locked takes as long as claiming it. Of those some are
-- free again, after a claim that was rolled back say; the next wide look has them.
-- Wide and whole looks wait for twenty times what the last one took, so that they are a twentieth of the work at most. An
-- instant named by a notification (`woken_from`) begins a look earlier. A hint of another queue, of other levels, of a time
-- to come or of nonsense is not obeyed, and without one every look is whole.
--
-- Dead entries lie ahead as well, where acked leases would have ended, so the search for the next ready_at has limits too.
-- Its answer is remembered for 1 s: no lease that is claimed meanwhile can end sooner, and all else that becomes ready sooner
-- tells those who listen; any notification ends it early, because it names only the earliest of its messages. The search goes
-- as far ahead as takes half a millisecond, at most beyond the poll interval, and where it took long it is not repeated
-- before a hundred times of that is over.
--
-- `listening`: the caller hears notifications and passes the hint back. Producers notify only until queues.sleepers_until.
-- A look that claims nothing moves that on, and what was enqueued by transactions that could not know of it is looked for
-- until all of them are over: those that had begun to write by the first look after the announcement.
--
-- `sleep`: the caller sleeps no longer than that, less than a poll interval. Whole looks come as often as it does.
--
-- Changes: messages; dead_letters for lapsed messages without budget, at most `max` of them; queues.sleepers_until.
-- Locks: the rows it acks and claims; where one of these has lapsed, or they are large, all that it looked at; for
-- an announcement the row of the queue. It waits a millisecond at most for any of them.
-- Returns: the claimed messages, those of one priority in no order (ready_since and id give it); then always one row whose id
-- is null, with the time of the database, the next instant at which there may be something to claim (null: nothing known),
-- the longest sleep, the hint for the next poll of this queue, `id attempt outcome` of the acks that did not count, and, of a
-- claim of `max` messages, 100 or more, whether messages in front of them are being claimed by somebody else.
-- Raises: DQ001, DQ002, 55P03 where the table is locked as a whole for more than 5 s.
create function poll(
  queue text,
  max integer default 1,
  lease interval default null,
  consumer text default null,
  handlers integer default 1,
  hint text default null,
  woken_from timestamptz default null,
  listening boolean default false,
  ack_ids bigint[] default null,
  ack_attempts integer[] default null,
  sleep interval default null
) returns table (
  id bigint, attempt integer, payload jsonb, headers jsonb, priority smallint, due_at timestamptz, enqueued_at timestamptz,
  lease_ends_at timestamptz, lateness interval, failures integer, lapses integer, is_suspect boolean,
  polled_at timestamptz, next_ready_at timestamptz, poll_interval interval, next_hint text, refused_acks text[],
  ready_since timestamptz, is_crowded boolean
)
language plpgsql volatile security definer
set search_path from current
set lock_timeout = '5s' -- no row is waited for; a table that somebody locks would keep the sessions of clients that gave up
set enable_seqscan = off
set enable_bitmapscan = off
set plan_cache_mode = force_generic_plan
as $$
#variable_conflict use_column
declare
  -- The hint, instants and durations in microseconds:
  --  1 number of the queue                     7 until when that holds
  --  2 when the last look was made             8 when the next search may begin
  --  3 when the last whole look was made       9 how far ahead it goes
  --  4 how long that took                     10 queues.sleepers_until as last seen
  --  5 when the next wide look is due         11 transactions below this number may not have known of it;
  --  6 nothing but what is told is ready         0: not asked yet, 1: all of them are over
  --    before this; 0: not within a poll      12 how long the last pause for them was
  --    interval either                        13 how long the last search took
  --                                           14 until when others count as claiming in front
  -- and from 15 on, for each level, where a near look and where a wide one begins.
  -- A duration counts for twice the last one and a little more at most: an operation that the server was held up in says nothing
  -- of the next one, and what really grows is known a few looks later.
  -- PL/pgSQL prepares each expression anew in each transaction, for about a microsecond. So there are few of them on the way
  -- of a look that finds nothing to change, and many in one statement or one condition where that can be.
  v_now timestamptz := clock();
  v_us bigint := date_part('epoch', v_now) * 1000000;
  v_left integer := max;
  v_queue_id integer;
  v_priorities smallint[];
  v_max_attempts integer;
  v_poll_interval interval;
  v_poll_us bigint;
  v_whole_us bigint;
  v_is_paused boolean;
  -- Half a poll interval less than producers obey. A look that is held up between its clock and its commit would else renew what
  -- ran out meanwhile, and not wait for those who wrote in between and told nobody.
  v_sleepers_until timestamptz;
  v_lease_ends_at timestamptz;
  v_consumer text;
  v_woken_us bigint;
  v_hint bigint[];
  v_is_hinted boolean;
  v_is_whole boolean;
  v_is_wide boolean;
  v_is_searching boolean;
  v_is_settled boolean;
  v_horizon timestamptz;
  v_refused text[];

  v_priority smallint;
  v_place integer := 13;
  v_is_deep boolean;
  v_since timestamptz;
  v_ids bigint[];
  v_load bigint;
  v_has_lapsed boolean;
  v_stored_bytes bigint := 0;
  v_is_full boolean := false;
  v_is_crowded boolean;
  v_is_passing boolean;
  v_seen_us bigint;
  v_locked_us bigint;
  v_search_at timestamptz;
  v_search_us bigint := 0;
  v_took_us bigint;
  v_ahead_us bigint;
  v_found timestamptz;
  v_ahead timestamptz;
  v_next timestamptz;
  v_known timestamptz;
begin
  select q.id, q.priorities, q.max_attempts, q.poll_interval, date_part('epoch', q.poll_interval) * 1000000,
         date_part('epoch', greatest(least(q.poll_interval, sleep), interval '0')) * 1000000, q.paused_at is not null,
         q.sleepers_until - q.poll_interval / 2, v_now + q.lease, coalesce(consumer, 'pid ' || pg_backend_pid()),
         case when isfinite(woken_from) then greatest(least(date_part('epoch', woken_from) * 1000000 - 50000, 4e18), 0) end -- 0: before 1970
    into v_queue_id, v_priorities, v_max_attempts, v_poll_interval, v_poll_us, v_whole_us, v_is_paused,
         v_sleepers_until, v_lease_ends_at, v_consumer, v_woken_us
    from queues q
   where q.name = poll.queue;
  if not found then
    perform _unknown_queue(queue);
  elsif max is null or max not between 1 and 10000 then
    perform _invalid('max', 'from 1 to 10000', max::text);
  elsif handlers is null or handlers < 1 then
    perform _invalid('handlers', 'at least 1', handlers::text);
  elsif lease is not null then
    perform _check_lease(lease);
    v_lease_ends_at := v_now + _exactly(lease);
  end if;

  if hint is not null then
    begin
      v_hint := hint::bigint[];
    exception when data_exception or program_limit_exceeded then
      null;
    end;
  end if;
  v_is_hinted := coalesce(cardinality(v_hint) = 14 + 2 * cardinality(v_priorities) and v_hint[1] = v_queue_id and v_hint[2] <= v_us
                          and 0 <= all (v_hint) and v_us + 1000000000000000 > all (v_hint), false);
  if not v_is_hinted then
    v_hint := array_fill(0::bigint, array[14 + 2 * cardinality(v_priorities)]);
    v_hint[1] := v_queue_id;
    v_hint[9] := v_poll_us + 1000000;
  end if;

  if listening then
    v_is_settled := v_hint[11] = 1 and v_us <= v_hint[10] and coalesce(v_sleepers_until > v_now, false);
    if not v_is_settled then
      if coalesce(v_sleepers_until <= v_now, true) or v_us > v_hint[10] then
        v_hint[11] := 0;
        v_hint[12] := 0;
      end if;
      if v_sleepers_until > v_now then
        if v_hint[11] = 0 then
          -- A number of its own, because the end of a snapshot may lie below those that are open: it follows the last that ended.
          v_hint[11] := pg_current_xact_id()::text;
        end if;
        v_is_settled := pg_snapshot_xmin(pg_current_snapshot())::text::bigint >= v_hint[11];
        if v_is_settled then
          v_hint[11] := 1;
          v_hint[3] := 0; -- the last of them may have enqueued long ago: this look is a whole one
        end if;
      end if;
    end if;
    if v_sleepers_until > v_now then
      v_hint[10] := date_part('epoch', v_sleepers_until) * 1000000;
    end if;
  end if;

  if v_is_hinted then
    v_is_whole := v_us >= v_hint[3] + greatest(v_whole_us * 3 / 4, 20 * v_hint[4]);
    v_is_wide := v_is_whole or v_us >= v_hint[5];
    v_is_searching := v_is_whole or v_us >= v_hint[8]
      and (v_us >= v_hint[7] or v_us >= v_hint[6] and v_hint[6] > 0 or woken_from is not null or not v_is_settled and listening);
    if v_is_searching then
      v_hint[9] := least(v_hint[9], v_poll_us + 1000000);
      v_horizon := v_now + make_interval(secs => v_hint[9] / 1e6::double precision);
    end if;
  else
    v_is_whole := true;
    v_is_wide := true;
    v_is_searching := true;
    v_horizon := 'infinity';
  end if;

  if ack_ids is not null and ack_ids <> '{}' and not _ack_at_once(ack_ids, ack_attempts) then
    v_refused := array(select concat_ws(' ', a.id, a.attempt, a.outcome) from ack_many(ack_ids, ack_attempts) a);
  end if;

  if not v_is_paused then
    foreach v_priority in array v_priorities loop
      v_place := v_place + 2;
      if v_is_wide then
        v_is_deep := true;
        v_since := case when v_is_whole or v_hint[v_place + 1] = 0 or v_woken_us = 0 then '-infinity'
                        else to_timestamp(least(v_hint[v_place + 1], v_us, v_woken_us) / 1e6::double precision) end;
      else
        v_is_deep := v_hint[v_place] = 0;
        v_since := case when v_is_deep or v_woken_us = 0 then '-infinity'
                        else to_timestamp(least(v_hint[v_place], v_us, v_woken_us) / 1e6::double precision) end;
      end if;

      v_is_passing := not v_is_deep and v_left >= 100 and v_us < v_hint[14];
      loop
        select array_agg(c.id), v_stored_bytes + coalesce(sum(c.load), 0)
          into v_ids, v_load
          from (
            -- The size as stored; more than is claimed unseen for what needs a second look.
            select m.id, case when m.leased_by is not null or m.lapses > 0 then 4194305 else pg_column_size(m.payload) end as load
              from messages m
             where m.queue_id = v_queue_id and m.priority = v_priority and m.ready_at >= v_since and m.ready_at <= v_now
               and (not v_is_passing or m.xmax = 0)
             order by m.ready_at, m.id
             limit v_left
             for update skip locked
          ) c;
        exit when not v_is_passing or cardinality(v_ids) = v_left;
        v_is_passing := false;
      end loop;

      if cardinality(v_ids) = v_left and v_left >= 100 then
        select m.id <> v_ids[1] into v_is_crowded
          from messages m
         where m.queue_id = v_queue_id and m.priority = v_priority and m.ready_at >= v_since and m.ready_at <= v_now
         order by m.ready_at, m.id
         limit 1;
        if v_is_crowded then
          v_hint[14] := v_us + 500000;
        end if;
      end if;

      v_seen_us := v_us;
      if v_load > 4194304 then
        -- Not all of them may be claimed: the next look begins at the first.
        select date_part('epoch', m.ready_at) * 1000000 into v_seen_us from messages m where m.id = v_ids[1];
        select bool_or(m.leased_by is not null or m.lapses > 0), v_stored_bytes + sum(pg_column_size(m.payload))
          into v_has_lapsed, v_load
          from messages m
         where m.id = any(v_ids);
        v_is_full := v_has_lapsed or v_load > 4194304;
        if v_has_lapsed and max - v_left >= handlers then
          v_ids := null;
        elsif v_has_lapsed then
          v_ids := nullif(_claimable(v_ids, max - v_left, handlers, v_max_attempts), '{}');
        end if;
        if v_load > 4194304 and v_ids is not null then
          v_ids := _affordable(v_ids);
        end if;
      end if;

      if v_ids is not null then
        return query
          update messages m
             set attempt = m.attempt + 1,
                 failures = m.failures + (m.leased_by is not null)::integer,
                 lapses = m.lapses + (m.leased_by is not null)::integer,
                 last_error = case when m.leased_by is null then m.last_error
                                   else format('the lease of attempt %s, held by %s, lapsed', m.attempt, m.leased_by) end,
                 ready_since = m.ready_at,
                 ready_at = v_lease_ends_at,
                 leased_by = v_consumer
           where m.id = any(v_ids)
          returning m.id, m.attempt, m.payload, m.headers, m.priority, m.due_at, m.enqueued_at,
                    v_lease_ends_at, v_now - m.due_at, m.failures, m.lapses, _is_suspect(m.lapses, v_max_attempts),
                    null::timestamptz, null::timestamptz, null::interval, null::text, null::text[], m.ready_since, null::boolean;
        v_stored_bytes := v_load;
        v_left := v_left - cardinality(v_ids);
        if v_left = 0 and not v_is_full then
          v_is_full := true;
          select date_part('epoch', m.ready_since) * 1000000 into v_seen_us from messages m where m.id = v_ids[cardinality(v_ids)];
        end if;
      end if;

      -- Full, or stopped at a message that has lapsed before or by large payloads: there may be more right now.
      if v_is_full then
        v_next := v_now;
        v_locked_us := 0;
        if v_is_deep and v_is_hinted then
          select date_part('epoch', m.ready_at) * 1000000 into v_locked_us
            from messages m
           where m.queue_id = v_queue_id and m.priority = v_priority
             and m.ready_at >= v_since and m.ready_at <= to_timestamp(v_seen_us / 1e6::double precision)
           order by m.ready_at, m.id
           limit 1;
        end if;
      elsif v_is_deep or v_is_searching then
        v_search_at := clock();
        select m.ready_at into v_found
          from messages m
         where m.queue_id = v_queue_id and m.priority = v_priority
           and m.ready_at >= case when v_is_deep then v_since else v_now end
           and m.ready_at <= case when v_is_searching then v_horizon else v_now end and m.ready_at < 'infinity'
         order by m.ready_at, m.id
         limit 1;
        v_locked_us := null;
        if v_found <= v_now then
          -- Ready and yet not claimed: another session has it locked, and most likely is claiming it under a lease that this
          -- snapshot cannot show. So look again when such a lease would end, should that session crash, as one message wakes
          -- many who find it locked; where somebody gave a shorter lease than ours, the poll interval is the bound.
          v_locked_us := date_part('epoch', v_found) * 1000000;
          v_next := least(v_next, v_lease_ends_at, v_now + v_poll_interval);
          v_search_at := clock();
          select m.ready_at into v_found
            from messages m
           where m.queue_id = v_queue_id and m.priority = v_priority and v_is_searching
             and m.ready_at > v_now and m.ready_at <= v_horizon and m.ready_at < 'infinity'
           order by m.ready_at, m.id
           limit 1;
        end if;
        v_ahead := least(v_ahead, v_found);
        v_search_us := v_search_us + date_part('epoch', clock() - v_search_at) * 1000000;
      end if;

      if v_is_deep then
        v_hint[v_place:v_place + 1] := array[greatest(v_seen_us - 50000, 0), greatest(least(v_seen_us, v_locked_us) - 1000000, 0)];
      else
        v_hint[v_place:v_place + 1] := array[greatest(v_seen_us - 50000, 0), least(v_hint[v_place + 1], greatest(v_seen_us - 50000, 0))];
      end if;
      exit when v_is_full;
    end loop;
  end if;

  -- The levels that were not reached are looked at later, from where they should have been now.
  if v_is_whole or woken_from is not null then
    for i in v_place + 2 .. cardinality(v_hint) loop
      v_hint[i] := case when v_is_whole then 0 else least(v_hint[i], greatest(v_woken_us, 0)) end;
    end loop;
  end if;

  if v_is_wide then
    v_took_us := greatest(date_part('epoch', clock() - v_now) * 1000000, 0);
    v_hint[2:5] := array[v_us,
                         case when v_is_whole then v_us else v_hint[3] end,
                         case when v_is_whole then least(v_took_us, 2 * v_hint[4] + 2000) else v_hint[4] end,
                         v_us + least(greatest(20 * v_took_us, 500000), v_poll_us)];
  else
    v_hint[2] := v_us;
  end if;

  if not v_is_full and not v_is_paused then
    if v_is_searching then
      v_search_us := greatest(least(v_search_us, 2 * v_hint[13] + 100), 0);
      v_ahead_us := case when v_ahead <= v_now + v_poll_interval + interval '1 second' then date_part('epoch', v_ahead) * 1000000
                         when v_ahead is null and v_hint[9] < v_poll_us then v_us + v_hint[9]
                         else 0 end;
      v_hint[6:9] := array[
        v_ahead_us,
        case when not listening then v_us + least(v_hint[9], 1000000)
             when v_is_settled then least(v_us + least(v_hint[9], 1000000), v_hint[10])
             else 0 end,
        case when v_search_us > 200 then v_us + least(100 * v_search_us, v_poll_us) else 0 end,
        case when v_search_us > 500 then greatest(50000, case when v_ahead_us > 0 then v_ahead_us - v_us else v_hint[9] end * 250 / v_search_us)
             when v_search_us < 200 then least(2 * v_hint[9], v_poll_us + 1000000)
             else v_hint[9] end];
      v_hint[13] := v_search_us;
      v_next := least(v_next, v_ahead);
    elsif v_us >= v_hint[7] or v_us >= v_hint[6] and v_hint[6] > 0 or woken_from is not null or not v_is_settled and listening then
      -- Not known, and too early for a search.
      v_hint[7] := 0;
      v_next := least(v_next, to_timestamp(v_hint[8] / 1e6::double precision));
    elsif not listening then
      v_next := least(v_next, to_timestamp(v_hint[7] / 1e6::double precision));
    end if;
    if v_is_hinted then
      -- What is remembered, and when everything is to be looked at.
      v_next := least(v_next, to_timestamp(least(v_hint[3] + greatest(v_whole_us, 20 * v_hint[4]),
                                                 case when v_hint[6] > v_us then v_hint[6] end) / 1e6::double precision));
    end if;
  elsif woken_from is not null or v_is_searching then
    v_hint[7] := 0; -- told of something, or due for a search, and not searched: the next look does
  end if;

  if listening and (not v_is_settled or not v_is_full and v_sleepers_until < v_now + 1.5 * v_poll_interval) then
    if v_hint[11] > 1 then
      v_hint[12] := least(greatest(2 * v_hint[12], 10000), v_poll_us);
      v_next := least(v_next, v_now + make_interval(secs => v_hint[12] / 1e6::double precision));
    elsif not v_is_settled then
      v_known := v_next;
      v_next := v_now; -- what was claimed is no announcement, and nobody would be told of more; or it is made now
    end if;
    -- Before every sleep, also after a claim: who is told of one message after the other may have no look that finds none.
    if (v_left = max or not v_is_full and v_sleepers_until > v_now)
       and coalesce(v_sleepers_until < v_now + 1.5 * v_poll_interval, true) then
      if _announce(v_queue_id, v_now + 4 * v_poll_interval) then
        v_hint[10] := date_part('epoch', v_now + 3.5 * v_poll_interval) * 1000000;
      else
        v_next := least(case when v_hint[11] = 0 then v_known else v_next end, v_now + interval '50 milliseconds');
      end if;
    end if;
  end if;

  -- All other columns are null.
  lease_ends_at := v_lease_ends_at;
  polled_at := v_now;
  next_ready_at := v_next;
  poll_interval := v_poll_interval;
  next_hint := v_hint;
  refused_acks := v_refused;
  is_crowded := v_is_crowded;
  return next;
end
$$;

comment on function poll is 'What a consumer calls: claims like dequeue, and adds one row without an id that says when to look again.';

-- dequeue: claims up to `max` ready messages under a lease, the form for psql and for other languages.
-- Changes, Locks, Raises: as poll.
-- Returns: the messages by priority, ready_at and id. Settle each with ack, nack, release or dead_letter, passing its id
-- and attempt, before lease_ends_at; extend moves that.
create function dequeue(
  queue text,
  max integer default 1,
  lease interval default null,
  consumer text default null
) returns table (
  id bigint, attempt integer, payload jsonb, headers jsonb, priority smallint, due_at timestamptz, enqueued_at timestamptz,
  lease_ends_at timestamptz, lateness interval, failures integer, lapses integer
)
language plpgsql volatile security definer
set search_path from current
as $$
#variable_conflict use_column
begin
  return query
    select p.id, p.attempt, p.payload, p.headers, p.priority, p.due_at, p.enqueued_at,
           p.lease_ends_at, p.lateness, p.failures, p.lapses
      from poll(dequeue.queue, dequeue.max, dequeue.lease, dequeue.consumer) p
     where p.id is not null
     order by p.priority, p.ready_since, p.id;
end
$$;

comment on function dequeue is 'Claims up to max ready messages under a lease. Settle each by its id and attempt before lease_ends_at.';
