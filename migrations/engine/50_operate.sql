-- Operating: pause and resume, cancel and reschedule, redrive and purge.

-- pause_queue: dequeue hands out nothing from now on; leased messages can still be settled and extended, and enqueue goes on.
-- Changes: queues. Locks: the row of the queue.
-- Returns: false where it was paused already. Raises: DQ001.
create function pause_queue(queue text) returns boolean
language plpgsql volatile security definer
set search_path from current
set lock_timeout = '2s'
as $$
begin
  update queues q set paused_at = clock() where q.name = pause_queue.queue and q.paused_at is null;
  if not found then
    perform from queues q where q.name = pause_queue.queue;
    if not found then
      perform _unknown_queue(queue);
    end if;
    return false;
  end if;
  return true;
end
$$;

comment on function pause_queue is 'Stops delivery until resume_queue. False where it was paused already.';

-- resume_queue: ends the pause.
-- Changes: queues. Locks: the row of the queue. Wakes consumers.
-- Returns: false where it was not paused. Raises: DQ001.
create function resume_queue(queue text) returns boolean
language plpgsql volatile security definer
set search_path from current
set lock_timeout = '2s'
as $$
declare
  v_now timestamptz := clock();
  v_queue queues;
begin
  update queues q set paused_at = null where q.name = resume_queue.queue and q.paused_at is not null returning q.* into v_queue;
  if not found then
    perform from queues q where q.name = resume_queue.queue;
    if not found then
      perform _unknown_queue(queue);
    end if;
    return false;
  end if;
  perform _wake(v_queue, v_now, v_now);
  return true;
end
$$;

comment on function resume_queue is 'Ends the pause. False where it was not paused.';

-- drop_queue: removes an empty queue.
-- Changes: queues. Locks: `messages` against writers, so that no enqueue in flight leaves a message without a queue; it
-- waits at most 2 s for open transactions that have written there, then gives up with 55P03 and nothing is changed.
-- Returns: nothing. Raises: DQ001, DQ006 where messages or dead letters are left, 55P03; 0A000 above READ COMMITTED, where
-- an old snapshot would hide the latest messages.
create function drop_queue(queue text) returns void
language plpgsql volatile security definer
set search_path from current
set lock_timeout = '2s'
set enable_seqscan = off
set enable_bitmapscan = off
set plan_cache_mode = force_generic_plan
as $$
#variable_conflict use_column
declare
  v_queue queues;
begin
  if current_setting('transaction_isolation') <> 'read committed' then
    raise exception using errcode = '0A000',
      message = format('drop_queue cannot run in a %s transaction', upper(current_setting('transaction_isolation'))),
      hint = 'Its snapshot may be older than the latest messages of the queue. Use READ COMMITTED.';
  end if;
  lock table messages in share row exclusive mode;
  select q.* into v_queue from queues q where q.name = drop_queue.queue for update;
  if not found then
    perform _unknown_queue(queue);
  end if;
  if exists (select from messages m where m.queue_id = v_queue.id)
     or exists (select from dead_letters d where d.queue_id = v_queue.id) then
    raise exception using errcode = 'DQ006',
      message = format('queue "%s" is not empty', queue),
      hint = 'Remove what it holds first: purge(queue, include_leased => true) and purge_dead(queue).';
  end if;
  perform _unlimit_depth(v_queue.id);
  delete from queues q where q.id = v_queue.id;
end
$$;

comment on function drop_queue is 'Removes an empty queue.';

-- next_ready_at: when the queue will have something to claim.
-- Returns: the earliest ready_at of the queue, in the past where something is ready now; null where the queue is empty
-- or paused. Raises: DQ001.
create function next_ready_at(queue text) returns timestamptz
language plpgsql volatile security definer
set search_path from current
set enable_seqscan = off
set enable_bitmapscan = off
set plan_cache_mode = force_generic_plan
as $$
#variable_conflict use_column
declare
  v_queue queues;
  v_level smallint;
  v_level_next timestamptz;
  v_next timestamptz;
begin
  select q.* into v_queue from queues q where q.name = next_ready_at.queue;
  if not found then
    perform _unknown_queue(queue);
  elsif v_queue.paused_at is not null then
    return null;
  end if;
  foreach v_level in array v_queue.priorities loop
    select m.ready_at into v_level_next
      from messages m
     where m.queue_id = v_queue.id and m.priority = v_level
     order by m.ready_at, m.id
     limit 1;
    v_next := least(v_next, v_level_next);
  end loop;
  return v_next;
end
$$;

comment on function next_ready_at is 'The earliest ready_at of a queue; null where it is empty or paused.';

-- cancel: removes a message that nobody is working on.
-- Changes: messages. Locks: the row.
-- Returns: 'cancelled', 'leased' where a consumer holds it, or null where there is no such message (any more).
-- Raises: 55P03 where another transaction holds the row for more than a second.
create function cancel(id bigint) returns text
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
begin
  delete from messages m where m.id = cancel.id and (m.leased_by is null or m.ready_at <= v_now);
  if found then
    return 'cancelled';
  end if;
  perform from messages m where m.id = cancel.id;
  return case when found then 'leased' end;
end
$$;

comment on function cancel is 'Removes a message nobody is working on. Gives cancelled or leased; null where there is none.';

-- reschedule: gives a message that nobody is working on another due time; `at`, or `delay` from now. Its failures stay.
-- Changes: messages. Locks: the row. Wakes consumers unless it is due after their next look.
-- Returns: 'rescheduled', 'leased' where a consumer holds it, or null where there is no such message (any more).
-- Raises: DQ002, DQ004, 55P03 where another transaction holds the row for more than a second.
create function reschedule(id bigint, delay interval default null, at timestamptz default null) returns text
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
  v_due_at timestamptz := _due_at(delay, at, v_now);
  v_queue queues;
begin
  update messages m
     set due_at = v_due_at, ready_at = v_due_at, ready_since = null,
         failures = m.failures + (m.leased_by is not null)::integer,
         lapses = m.lapses + (m.leased_by is not null)::integer,
         leased_by = null
   where m.id = reschedule.id and (m.leased_by is null or m.ready_at <= v_now)
  returning m.queue_id into v_queue.id;
  if not found then
    perform from messages m where m.id = reschedule.id;
    return case when found then 'leased' end;
  end if;
  select q.* into v_queue from queues q where q.id = v_queue.id;
  perform _wake(v_queue, v_due_at, v_now);
  return 'rescheduled';
end
$$;

comment on function reschedule is 'Gives a message nobody is working on another due time. Gives rescheduled or leased; null where there is none.';

-- _dead_letters_of: the ids of dead letters of a queue, at most `max`, oldest first; those with the given ids if not null.
-- `only_free` passes over those whose dedup key a live message has, or they would stand in the way of the others for good.
-- Two statements, and "+ 0", because one for both walks all dead letters of the queue to find those that are named. Its
-- callers force custom plans: a plan cached while the table was empty was seen to walk dead_letters_queue_idx for each id.
-- Changes: nothing. Locks: the rows, passing over locked ones.
create function _dead_letters_of(queue_id integer, ids bigint[], max integer, only_free boolean) returns bigint[]
language plpgsql volatile
as $$
#variable_conflict use_column
begin
  if ids is null then
    return array(
      select l.id from dead_letters l
       where l.queue_id = _dead_letters_of.queue_id
         and (not only_free or l.dedup_key is null or not exists (
               select from messages m where m.dedup_key = l.dedup_key and m.queue_id + 0 = l.queue_id))
       order by l.queue_id, l.id
       limit _dead_letters_of.max
         for update skip locked
    );
  end if;
  return array(
    select l.id from dead_letters l
     where l.id = any(_dead_letters_of.ids) and l.queue_id + 0 = _dead_letters_of.queue_id
     order by l.id
     limit _dead_letters_of.max
       for update skip locked
  );
end
$$;

-- redrive: makes dead letters messages again, at most `max` of them, oldest first, or those with the given ids. They are due
-- now, with their payload, headers, priority and dedup key, a new id and a fresh budget. The new ids are in the order of the
-- old ones, so they are dequeued in that order; inserted they are in the order of their dedup keys, like enqueue_many, so
-- that the two cannot deadlock. A dead letter stays where a live message has its dedup key.
-- Changes: dead_letters, messages. Locks: the rows, passing over locked ones; it waits for a transaction that has
-- enqueued, claimed or settled a message with the dedup key of one. Wakes consumers.
-- Returns: the old and the new id of each. Raises: DQ001, DQ002.
create function redrive(queue text, ids bigint[] default null, max integer default 1000)
returns table (dead_id bigint, id bigint)
language plpgsql volatile security definer
set search_path from current
set lock_timeout = '2s'
set plan_cache_mode = force_custom_plan
set enable_seqscan = off
set enable_bitmapscan = off
as $$
#variable_conflict use_column
declare
  v_now timestamptz := clock();
  v_queue queues;
  v_ids bigint[];
  v_new_ids bigint[];
  d record;
begin
  select q.* into v_queue from queues q where q.name = redrive.queue;
  if not found then
    perform _unknown_queue(queue);
  elsif max is null or max not between 1 and 10000 then
    perform _invalid('max', 'from 1 to 10000', max::text);
  end if;
  v_ids := _dead_letters_of(v_queue.id, ids, max, true);
  v_new_ids := array(select nextval('messages_id_seq') from generate_series(1, cardinality(v_ids)));
  for d in
    select l.*, row_number() over (order by l.id) as position
      from dead_letters l where l.id = any(v_ids) order by l.dedup_key, l.id
  loop
    insert into messages (id, queue_id, priority, ready_at, due_at, enqueued_at, kind, key, dedup_key, payload, headers)
    values (v_new_ids[d.position], d.queue_id, d.priority, v_now, v_now, v_now, d.kind, d.key, d.dedup_key, d.payload, d.headers)
    on conflict (dedup_key, queue_id) where dedup_key is not null do nothing
    returning messages.id into id;
    continue when not found;
    delete from dead_letters l where l.id = d.id;
    dead_id := d.id;
    return next;
  end loop;
  if dead_id is not null then
    perform _wake(q, v_now, v_now) from queues q where q.id = v_queue.id;
  end if;
end
$$;

comment on function redrive is 'Makes dead letters messages again, due now. Gives the old and the new ids.';

-- purge: deletes the messages of a queue that nobody is working on, at most `max` of them; leased ones too where
-- include_leased says so (their consumers then find the lease lost).
-- Changes: messages. Locks: the rows, passing over locked ones.
-- Returns: how many were deleted; call again until it is 0. Raises: DQ001, DQ002.
create function purge(queue text, max integer default 10000, include_leased boolean default false) returns bigint
language plpgsql volatile security definer
set search_path from current
set enable_seqscan = off
set enable_bitmapscan = off
set plan_cache_mode = force_generic_plan
as $$
#variable_conflict use_column
declare
  v_now timestamptz := clock();
  v_queue queues;
  v_ids bigint[];
begin
  select q.* into v_queue from queues q where q.name = purge.queue;
  if not found then
    perform _unknown_queue(queue);
  elsif max is null or max not between 1 and 100000 then
    perform _invalid('max', 'from 1 to 100000', max::text);
  end if;
  v_ids := array(
    select m.id from messages m
     where m.queue_id = v_queue.id and (include_leased or m.leased_by is null or m.ready_at <= v_now)
     limit purge.max
       for update skip locked
  );
  if cardinality(v_ids) > 0 then
    delete from messages m where m.id = any(v_ids);
  end if;
  return cardinality(v_ids);
end
$$;

comment on function purge is 'Deletes messages nobody is working on, at most max. Gives their number.';

-- purge_dead: deletes dead letters of a queue, at most `max` of them, oldest first, or those with the given ids.
-- Changes: dead_letters. Locks: the rows, passing over locked ones.
-- Returns: how many were deleted. Raises: DQ001, DQ002.
create function purge_dead(queue text, ids bigint[] default null, max integer default 10000) returns bigint
language plpgsql volatile security definer
set search_path from current
set plan_cache_mode = force_custom_plan
set enable_seqscan = off
set enable_bitmapscan = off
as $$
#variable_conflict use_column
declare
  v_queue queues;
  v_ids bigint[];
begin
  select q.* into v_queue from queues q where q.name = purge_dead.queue;
  if not found then
    perform _unknown_queue(queue);
  elsif max is null or max not between 1 and 100000 then
    perform _invalid('max', 'from 1 to 100000', max::text);
  end if;
  v_ids := _dead_letters_of(v_queue.id, ids, max, false);
  delete from dead_letters l where l.id = any(v_ids);
  return cardinality(v_ids);
end
$$;

comment on function purge_dead is 'Deletes dead letters, at most max or those given. Gives their number.';
