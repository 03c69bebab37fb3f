-- Settling: ack, nack, release, dead_letter, and extend. Each needs the lease of that very attempt: a row with this id
-- and attempt that is still leased. A lapsed lease that nobody has claimed again still counts; a claim raises the attempt
-- and so shuts the old consumer out. An attempt is settled once.
--
-- Where another transaction holds the row (an ack in a transaction of a caller that is still open, say) they wait one
-- second at most and then raise 55P03, with nothing changed.

-- ack: the message is done; its row is deleted.
-- Changes: messages. Locks: the row.
-- Returns: false where the lease is lost or the attempt is settled already.
create function ack(id bigint, attempt integer) returns boolean
language plpgsql volatile security definer
set search_path from current
set lock_timeout = '1s'
set enable_seqscan = off
set enable_bitmapscan = off
set plan_cache_mode = force_generic_plan
as $$
#variable_conflict use_column
begin
  delete from messages m where m.id = ack.id and m.attempt = ack.attempt and m.leased_by is not null;
  return found;
end
$$;

comment on function ack is 'Done: deletes the message. False where the lease is lost.';

-- _held: which of these (id, attempt) hold their lease in a row that could be locked without waiting.
-- A row that another transaction holds (an ack in an open transaction of a caller, say) is passed over, so that it delays
-- no other message. The shape matters: "id = any" has the primary key as its only index path, whatever the statistics
-- say, where a join with the arrays was seen to walk the whole index; and the rows come in the order of the ids, so for
-- sorted input, the usual case, comparing the arrays is all there is to do.
-- No statement may have "id = any" of an empty array: that implies every predicate, a partial index's too, and with few
-- statistics the planner then walks all of messages_dedup_idx (13 ms for 100,000 keys).
-- Changes: nothing. Locks: the rows of all ids that are leased, by another attempt too.
create function _held(ids bigint[], attempts integer[]) returns bigint[]
language plpgsql volatile
as $$
#variable_conflict use_column
declare
  v_ids bigint[];
  v_attempts integer[];
begin
  if cardinality(ids) is distinct from cardinality(attempts) then
    perform _invalid('attempts', format('as long as ids (%s)', coalesce(cardinality(ids)::text, 'null')), cardinality(attempts)::text);
  elsif cardinality(ids) = 0 then
    return ids;
  end if;
  select array_agg(h.id), array_agg(h.attempt)
    into v_ids, v_attempts
    from (
      select m.id, m.attempt from messages m where m.id = any(ids) and m.leased_by is not null for update skip locked
    ) h;
  if v_ids = ids and v_attempts = attempts then
    return v_ids;
  end if;
  return array(
    select distinct h.id
      from unnest(v_ids, v_attempts) as h (id, attempt)
      join unnest(ids, attempts) as g (id, attempt) on g.id = h.id and g.attempt = h.attempt
  );
end
$$;

-- _not_held: tells busy from lost for those that _held left out. To be called before the held rows are deleted: an id
-- may come with its current attempt and, from a consumer that lapsed, with a stale one.
-- Returns: (id, outcome, attempt) for each (id, attempt) that is not held: 'busy' where the lease is there but the row was locked
-- by another transaction, 'lost' otherwise.
create function _not_held(ids bigint[], attempts integer[], held bigint[]) returns table (id bigint, outcome text, attempt integer)
language plpgsql volatile
as $$
#variable_conflict use_column
declare
  g record;
begin
  for g in
    select a.id, a.attempt from unnest(ids, attempts) as a (id, attempt)
  loop
    perform from messages m where m.id = g.id and m.attempt = g.attempt and m.leased_by is not null;
    continue when found and g.id = any(held);
    id := g.id;
    attempt := g.attempt;
    outcome := case when found then 'busy' else 'lost' end;
    return next;
  end loop;
end
$$;

-- ack_many: acks many messages in one statement, without waiting for any row.
-- Changes: messages. Locks: the rows it acks.
-- Returns: one row (id, outcome, attempt) for each message that was NOT acked: 'lost', or 'busy' (another transaction holds the
-- row: try again, alone). No row: all are acked.
-- Raises: DQ002 for arrays of unequal length.
create function ack_many(ids bigint[], attempts integer[]) returns table (id bigint, outcome text, attempt integer)
language plpgsql volatile security definer
set search_path from current
set lock_timeout = '5s'
set enable_seqscan = off
set enable_bitmapscan = off
set plan_cache_mode = force_generic_plan
as $$
#variable_conflict use_column
declare
  v_held bigint[] := _held(ids, attempts);
begin
  if cardinality(v_held) < cardinality(ids) then
    return query select n.id, n.outcome, n.attempt from _not_held(ids, attempts, v_held) n;
  end if;
  if cardinality(v_held) > 0 then
    delete from messages m where m.id = any(v_held);
  end if;
end
$$;

comment on function ack_many is 'Acks many messages without waiting for any. Gives a row (id, lost or busy) for each that was not acked.';

-- extend: moves the end of the lease to `lease` from now, never to an earlier instant.
-- Changes: messages. Locks: the row.
-- Returns: the new end of the lease, or null where the lease is lost. Raises: DQ002.
create function extend(id bigint, attempt integer, lease interval default null) returns timestamptz
language plpgsql volatile security definer
set search_path from current
set lock_timeout = '1s'
set enable_seqscan = off
set enable_bitmapscan = off
set plan_cache_mode = force_generic_plan
as $$
#variable_conflict use_column
declare
  v_now timestamptz := clock();
  v_lease_ends_at timestamptz;
begin
  perform _check_lease(lease);
  update messages m
     set ready_at = greatest(m.ready_at, v_now + coalesce(_exactly(extend.lease), (select q.lease from queues q where q.id = m.queue_id)))
   where m.id = extend.id and m.attempt = extend.attempt and m.leased_by is not null
  returning m.ready_at into v_lease_ends_at;
  return v_lease_ends_at;
end
$$;

comment on function extend is 'Moves the end of the lease to that long from now, never to an earlier instant. Null where the lease is lost.';

-- extend_many: extends many leases in one statement, without waiting for any row.
-- Changes: messages. Locks: the rows it extends.
-- Returns: one row (id, outcome, attempt) for each lease that was NOT extended: 'lost', or 'busy' (another transaction holds the
-- row, so nobody else can claim it before that ends). No row: all are extended, to `lease` from now.
-- Raises: DQ002.
create function extend_many(ids bigint[], attempts integer[], lease interval) returns table (id bigint, outcome text, attempt integer)
language plpgsql volatile security definer
set search_path from current
set lock_timeout = '5s'
set enable_seqscan = off
set enable_bitmapscan = off
set plan_cache_mode = force_generic_plan
as $$
#variable_conflict use_column
declare
  v_now timestamptz := clock();
  v_held bigint[];
begin
  if lease is null then
    perform _invalid('lease', 'from 1 second to 12 hours', null);
  end if;
  perform _check_lease(lease);
  v_held := _held(ids, attempts);
  if cardinality(v_held) > 0 then
    update messages m set ready_at = greatest(m.ready_at, v_now + _exactly(extend_many.lease)) where m.id = any(v_held);
  end if;
  if cardinality(v_held) < cardinality(ids) then
    return query select n.id, n.outcome, n.attempt from _not_held(ids, attempts, v_held) n;
  end if;
end
$$;

comment on function extend_many is 'Extends many leases without waiting for any. Gives a row (id, lost or busy) for each that was not extended.';

-- _retry_delay: how long a message that has failed so often is kept back. It doubles with each failure from backoff_base to
-- backoff_max; random in its upper half, so that messages that failed together do not come back together.
create function _retry_delay(queue queues, failures integer) returns interval
language sql volatile
as $$
  -- In seconds as a double: an interval leaves its range when it is doubled often. (A double does at 2^1024.)
  select make_interval(secs => (0.5 + random() / 2) * least(
    extract(epoch from (queue).backoff_max)::double precision,
    extract(epoch from (queue).backoff_base)::double precision * power(2, least(failures - 1, 1000))))
$$;

-- nack: the attempt failed. The message is ready again after the back-off, or after `delay` where that is given, or goes
-- to the dead letters when its budget of failures is used up.
-- Changes: messages, dead_letters. Locks: the row. Wakes consumers unless the retry is after their next look.
-- Returns: 'retry', 'dead', or null where the lease is lost. Raises: DQ002.
create function nack(id bigint, attempt integer, error text default null, delay interval default null) returns text
language plpgsql volatile security definer
set search_path from current
set lock_timeout = '1s'
set enable_seqscan = off
set enable_bitmapscan = off
set plan_cache_mode = force_generic_plan
as $$
#variable_conflict use_column
declare
  v_now timestamptz := clock();
  v_queue queues;
  v_failures integer;
  v_ready_at timestamptz := _due_at(delay, null, v_now);
begin
  select m.failures + 1, m.queue_id into v_failures, v_queue.id
    from messages m
   where m.id = nack.id and m.attempt = nack.attempt and m.leased_by is not null
     for update;
  if not found then
    return null;
  end if;
  select q.* into v_queue from queues q where q.id = v_queue.id;
  if v_failures >= v_queue.max_attempts then
    perform _to_dead_letters(array[id], 'exhausted', left(error, 10000), 1, 0);
    return 'dead';
  end if;
  if delay is null then
    v_ready_at := v_now + _retry_delay(v_queue, v_failures);
  end if;
  update messages m
     set ready_at = v_ready_at, ready_since = null, leased_by = null, failures = v_failures, last_error = left(error, 10000)
   where m.id = nack.id;
  perform _wake(v_queue, v_ready_at, v_now);
  return 'retry';
end
$$;

comment on function nack is 'Failed: ready again after the back-off, or a dead letter. Gives retry or dead; null where the lease is lost.';

-- release: gives the message back unharmed; this is not a failure. It returns to its old place in the queue, or becomes
-- ready after `delay` where that is given.
-- Changes: messages. Locks: the row. Wakes consumers unless it is ready after their next look.
-- Returns: false where the lease is lost. Raises: DQ002.
create function release(id bigint, attempt integer, delay interval default null) returns boolean
language plpgsql volatile security definer
set search_path from current
set lock_timeout = '1s'
set enable_seqscan = off
set enable_bitmapscan = off
set plan_cache_mode = force_generic_plan
as $$
#variable_conflict use_column
declare
  v_now timestamptz := clock();
  v_ready_at timestamptz := case when delay is not null then _due_at(delay, null, v_now) end;
  v_queue queues;
begin
  update messages m
     set ready_at = coalesce(v_ready_at, m.ready_since), ready_since = null, leased_by = null
   where m.id = release.id and m.attempt = release.attempt and m.leased_by is not null
  returning m.queue_id, m.ready_at into v_queue.id, v_ready_at;
  if not found then
    return false;
  end if;
  select q.* into v_queue from queues q where q.id = v_queue.id;
  perform _wake(v_queue, v_ready_at, v_now);
  return true;
end
$$;

comment on function release is 'Gives the message back, which is no failure. False where the lease is lost.';

-- _return_many: what nack_many and release_many have in common. Row after row, because each has a delay, an error and a
-- queue of its own: a join with the arrays was seen to walk the whole primary key, and no plan can go wrong for one id.
-- Each queue is told once, of the message that is ready first.
-- Changes: messages, dead_letters. Locks: the rows that it returns, and none that another transaction holds.
-- Returns: (id, outcome, attempt) for each (id, attempt), in their order: 'returned', 'dead', 'lost' or 'busy'.
create function _return_many(ids bigint[], attempts integer[], errors text[], delays interval[], is_failure boolean)
returns table (id bigint, outcome text, attempt integer)
language plpgsql volatile
as $$
#variable_conflict use_column
declare
  v_now timestamptz := clock();
  v_count integer := cardinality(ids);
  v_queue queues;
  v_queue_id integer;
  v_failures integer;
  v_ready_at timestamptz;
  v_woken text[] := '{}';
  v_firsts timestamptz[] := '{}';
  v_position integer;
  g record;
begin
  if cardinality(attempts) is distinct from v_count then
    perform _invalid('attempts', format('as long as ids (%s)', coalesce(v_count::text, 'null')), cardinality(attempts)::text);
  elsif cardinality(errors) <> v_count or cardinality(delays) <> v_count then
    perform _invalid('errors and delays', format('null or as long as ids (%s)', v_count), 'another length');
  end if;
  perform _due_at(d.delay, null, v_now) from unnest(delays) as d (delay) where d.delay is not null;

  for g in
    select a.id, a.attempt, a.error, a.delay from unnest(ids, attempts, errors, delays) as a (id, attempt, error, delay)
  loop
    id := g.id;
    attempt := g.attempt;
    select m.queue_id, m.failures + 1, m.ready_since into v_queue_id, v_failures, v_ready_at
      from messages m
     where m.id = g.id and m.attempt = g.attempt and m.leased_by is not null
       for update skip locked;
    if not found then
      perform from messages m where m.id = g.id and m.attempt = g.attempt and m.leased_by is not null;
      outcome := case when found then 'busy' else 'lost' end;
      return next;
      continue;
    end if;
    if v_queue_id is distinct from v_queue.id then
      select q.* into v_queue from queues q where q.id = v_queue_id;
    end if;

    if is_failure and v_failures >= v_queue.max_attempts then
      perform _to_dead_letters(array[g.id], 'exhausted', left(g.error, 10000), 1, 0);
      outcome := 'dead';
      return next;
      continue;
    end if;
    if g.delay is not null then
      v_ready_at := v_now + _exactly(g.delay);
    elsif is_failure then
      v_ready_at := v_now + _retry_delay(v_queue, v_failures);
    end if;
    update messages m
       set ready_at = v_ready_at, ready_since = null, leased_by = null,
           failures = case when is_failure then v_failures else m.failures end,
           last_error = case when is_failure then left(g.error, 10000) else m.last_error end
     where m.id = g.id;
    outcome := 'returned';
    return next;

    if v_ready_at <= v_now + v_queue.poll_interval then
      v_position := coalesce(array_position(v_woken, v_queue.name), cardinality(v_woken) + 1);
      v_woken[v_position] := v_queue.name;
      v_firsts[v_position] := least(v_firsts[v_position], v_ready_at);
    end if;
  end loop;
  perform _wake(q, w.ready_at, v_now) from unnest(v_woken, v_firsts) as w (queue, ready_at) join queues q on q.name = w.queue;
end
$$;

-- nack_many: nacks many messages in one statement, without waiting for any row. `errors` and `delays` are null, or have one
-- element for each id; a null delay means the back-off, of which each message draws its own.
-- Changes: messages, dead_letters. Locks: the rows it nacks. Wakes as nack, once for each queue.
-- Returns: one row (id, outcome, attempt) for each id, in their order: 'retry', 'dead', 'lost', or 'busy' (another transaction
-- holds the row: try again). Raises: DQ002, then nothing is changed.
create function nack_many(ids bigint[], attempts integer[], errors text[] default null, delays interval[] default null)
returns table (id bigint, outcome text, attempt integer)
language plpgsql volatile security definer
set search_path from current
set lock_timeout = '5s'
set enable_seqscan = off
set enable_bitmapscan = off
set plan_cache_mode = force_generic_plan
as $$
#variable_conflict use_column
begin
  return query
    select r.id, case r.outcome when 'returned' then 'retry' else r.outcome end, r.attempt
      from _return_many(ids, attempts, errors, delays, true) r;
end
$$;

comment on function nack_many is 'Nacks many messages without waiting for any. Gives a row (id, retry, dead, lost or busy) for each.';

-- release_many: gives many messages back in one statement, without waiting for any row. `delays` is null, or has one element
-- for each id; null means the old place.
-- Changes: messages. Locks: the rows it releases. Wakes as release, once for each queue.
-- Returns: one row (id, outcome, attempt) for each message that was NOT released: 'lost', or 'busy' (another transaction holds
-- the row: try again). No row: all are released. Raises: DQ002, then nothing is changed.
create function release_many(ids bigint[], attempts integer[], delays interval[] default null)
returns table (id bigint, outcome text, attempt integer)
language plpgsql volatile security definer
set search_path from current
set lock_timeout = '5s'
set enable_seqscan = off
set enable_bitmapscan = off
set plan_cache_mode = force_generic_plan
as $$
#variable_conflict use_column
begin
  return query
    select r.id, r.outcome, r.attempt from _return_many(ids, attempts, null, delays, false) r where r.outcome <> 'returned';
end
$$;

comment on function release_many is 'Gives many messages back without waiting for any. Gives a row (id, lost or busy) for each that was not released.';

-- dead_letter: moves the message to the dead letters at once, for a reason that no retry can mend.
-- Changes: messages, dead_letters. Locks: the row.
-- Returns: false where the lease is lost. Raises: DQ002 for an empty reason.
create function dead_letter(id bigint, attempt integer, reason text, error text default null) returns boolean
language plpgsql volatile security definer
set search_path from current
set lock_timeout = '1s'
set enable_seqscan = off
set enable_bitmapscan = off
set plan_cache_mode = force_generic_plan
as $$
#variable_conflict use_column
begin
  if reason is null or length(reason) not between 1 and 1000 then
    perform _invalid('reason', 'a text of 1 to 1000 characters', case when reason is not null then length(reason) || ' characters' end);
  end if;
  perform from messages m
    where m.id = dead_letter.id and m.attempt = dead_letter.attempt and m.leased_by is not null for update;
  if not found then
    return false;
  end if;
  perform _to_dead_letters(array[id], reason, left(error, 10000), 1, 0);
  return true;
end
$$;

comment on function dead_letter is 'Moves the message to the dead letters at once. False where the lease is lost.';
