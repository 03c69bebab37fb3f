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

-- poll: claims up to `max` ready messages under a lease, and says when to look again. What a consumer calls.
-- A claim moves ready_at to the end of the lease and counts the attempt; claiming a lapsed message counts a failure.
-- The candidates are locked with SKIP LOCKED, so that consumers never wait for each other, and never share.
-- `handlers` says how many messages the caller starts at once: with one that has lapsed before no more than that are claimed.
-- Large payloads make a claim smaller: 4 MB as they are stored, compressed, may be claimed unseen; of more the first 16 MB of
-- JSON, and next_ready_at says that there is more now.
-- A message with is_suspect has lapsed for half of its budget: nothing should be claimed until it is settled.
-- Changes: messages; dead_letters for lapsed messages without budget, at most `max` of them. Locks: the rows it
-- claims; where one of them has lapsed, or they are large, all that it looked at.
-- Returns: the claimed messages by priority, ready_at and id; then always one row whose id is null, with the time of the
-- database, the next instant at which there may be something to claim (null: nothing known) and the longest sleep.
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
  ack_attempts integer[] default null
) returns table (
  id bigint, attempt integer, payload jsonb, headers jsonb, priority smallint, due_at timestamptz, enqueued_at timestamptz,
  lease_ends_at timestamptz, lateness interval, failures integer, lapses integer, is_suspect boolean,
  polled_at timestamptz, next_ready_at timestamptz, poll_interval interval, next_hint text, refused_acks text[]
)
language plpgsql volatile
set search_path from current
set lock_timeout = '5s' -- no row is waited for; a table that somebody locks would keep the sessions of clients that gave up
set enable_seqscan = off
set enable_bitmapscan = off
set plan_cache_mode = force_generic_plan
as $$
#variable_conflict use_column
declare
  v_now timestamptz := clock();
  v_queue queues;
  v_lease_ends_at timestamptz;
  v_consumer text := coalesce(consumer, 'pid ' || pg_backend_pid());
  v_level smallint;
  v_ids bigint[];
  v_is_lapsed boolean;
  v_stored_bytes bigint := 0;
  v_left integer := max;
  v_next timestamptz;
  v_level_next timestamptz;
  v_refused text[];
begin
  select q.* into v_queue from queues q where q.name = poll.queue;
  if not found then
    perform _unknown_queue(queue);
  elsif max is null or max not between 1 and 10000 then
    perform _invalid('max', 'from 1 to 10000', max::text);
  elsif handlers is null or handlers < 1 then
    perform _invalid('handlers', 'at least 1', handlers::text);
  end if;
  perform _check_lease(lease);
  if ack_ids is not null then
    v_refused := array(select concat_ws(' ', a.id, a.attempt, a.outcome) from ack_many(ack_ids, ack_attempts) a);
  end if;
  v_lease_ends_at := v_now + coalesce(_exactly(lease), v_queue.lease);

  if v_queue.paused_at is null then
    foreach v_level in array v_queue.priorities loop
      select array_agg(c.id), bool_or(c.is_lapsed), v_stored_bytes + coalesce(sum(c.stored_bytes), 0)
        into v_ids, v_is_lapsed, v_stored_bytes
        from (
          select m.id, m.leased_by is not null or m.lapses > 0 as is_lapsed, pg_column_size(m.payload) as stored_bytes
            from messages m
           where m.queue_id = v_queue.id and m.priority = v_level and m.ready_at <= v_now
           order by m.ready_at, m.id
           limit v_left
           for update skip locked
        ) c;

      if v_is_lapsed then
        if max - v_left >= handlers then
          v_next := v_now;
          exit;
        end if;
        v_ids := nullif(_claimable(v_ids, max - v_left, handlers, v_queue.max_attempts), '{}');
      end if;

      if v_stored_bytes > 4194304 and v_ids is not null then
        v_ids := _affordable(v_ids);
      end if;

      if v_ids is not null then
        return query
          with claimed as (
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
                      m.failures, m.lapses, m.ready_since
          )
          select c.id, c.attempt, c.payload, c.headers, c.priority, c.due_at, c.enqueued_at,
                 v_lease_ends_at, v_now - c.due_at, c.failures, c.lapses, _is_suspect(c.lapses, v_queue.max_attempts),
                 null::timestamptz, null::timestamptz, null::interval, null::text, null::text[]
            from claimed c
           order by c.ready_since, c.id;
        v_left := v_left - cardinality(v_ids);
      end if;

      -- Full, or stopped at a message that has lapsed before or by large payloads: there may be more right now.
      if v_left <= 0 or v_is_lapsed or v_stored_bytes > 4194304 then
        v_next := v_now;
        exit;
      end if;

      select m.ready_at into v_level_next
        from messages m
       where m.queue_id = v_queue.id and m.priority = v_level
       order by m.ready_at, m.id
       limit 1;
      if v_level_next <= v_now then
        -- Ready and yet not claimed: another session has it locked, and most likely is claiming it under a lease that this
        -- snapshot cannot show. So look again before the shortest lease can end, should that session crash.
        v_next := least(v_next, v_now + interval '1 second');
        select m.ready_at into v_level_next
          from messages m
         where m.queue_id = v_queue.id and m.priority = v_level and m.ready_at > v_now
         order by m.ready_at, m.id
         limit 1;
      end if;
      v_next := least(v_next, v_level_next);
    end loop;
  end if;

  return query select null::bigint, null::integer, null::jsonb, null::jsonb, null::smallint, null::timestamptz,
    null::timestamptz, v_lease_ends_at, null::interval, null::integer, null::integer, null::boolean,
    v_now, v_next, v_queue.poll_interval, null::text, v_refused;
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
language plpgsql volatile
set search_path from current
as $$
#variable_conflict use_column
begin
  return query
    select p.id, p.attempt, p.payload, p.headers, p.priority, p.due_at, p.enqueued_at,
           p.lease_ends_at, p.lateness, p.failures, p.lapses
      from poll(dequeue.queue, dequeue.max, dequeue.lease, dequeue.consumer) p
     where p.id is not null;
end
$$;

comment on function dequeue is 'Claims up to max ready messages under a lease. Settle each by its id and attempt before lease_ends_at.';
