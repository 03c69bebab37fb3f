-- doctor, its second half: the tables of dueq, and what waits in the queues.

-- _check_tables: whether the tables and indexes are as the migrations made them, and looked after.
create function _check_tables() returns table ("check" text, ok boolean, detail text, advice text)
language plpgsql volatile
set lock_timeout = '1s'
as $$
#variable_conflict use_column
declare
  v_table record;
  v_found text;
  v_remedy text;
  v_scale_factor numeric;
  v_limit bigint := (1.5 * current_setting('autovacuum_freeze_max_age')::numeric)::bigint;
  v_max_id bigint;
  v_last_id bigint;
  v_sequence text := pg_get_serial_sequence('messages', 'id');
begin
  select s.n_live_tup as live, s.n_dead_tup as dead, s.last_autovacuum, pg_total_relation_size(s.relid) as size into v_table
    from pg_stat_all_tables s where s.relid = 'messages'::regclass;
  v_found := format('%s live and %s dead rows in %s, last autovacuum %s', v_table.live, v_table.dead,
    pg_size_pretty(v_table.size), coalesce(v_table.last_autovacuum::text, 'never'));
  return query select f."check", f.ok, f.detail, f.advice
    from _finding('bloat', case when v_table.dead > 50000 + 10 * v_table.live then v_found end, v_found,
    'Autovacuum does not keep up: look for held snapshots, then at autovacuum_naptime and autovacuum_max_workers.') f;

  select (select o.option_value::numeric from pg_options_to_table(c.reloptions) o where o.option_name = 'autovacuum_vacuum_scale_factor')
    into v_scale_factor
    from pg_class c where c.oid = 'messages'::regclass;
  select string_agg(format('autovacuum is off for %s', c.relname), ', ') into v_found
    from pg_class c cross join pg_options_to_table(c.reloptions) o
   where (c.oid = 'messages'::regclass or c.oid = (select m.reltoastrelid from pg_class m where m.oid = 'messages'::regclass))
     and o.option_name = 'autovacuum_enabled' and not o.option_value::boolean;
  v_found := nullif(concat_ws(', ',
    case when not current_setting('autovacuum')::boolean then 'autovacuum is off' end,
    case when not current_setting('track_counts')::boolean then 'track_counts is off, autovacuum sees nothing to do' end,
    v_found,
    case when coalesce(v_scale_factor, 1) > 0.05
         then format('autovacuum_vacuum_scale_factor of messages is %s instead of 0.02', coalesce(v_scale_factor::text, 'not set')) end), '');
  return query select f."check", f.ok, f.detail, f.advice
    from _finding('autovacuum', v_found,
    format('autovacuum is on, also for messages, naptime %s', current_setting('autovacuum_naptime')),
    'Turn it on: a queue without autovacuum slows down within minutes. alter table messages set (autovacuum_enabled = true, autovacuum_vacuum_scale_factor = 0.02).') f;

  select greatest(age(c.relfrozenxid), age(t.relfrozenxid), age(d.datfrozenxid)) as xids,
         greatest(mxid_age(c.relminmxid), mxid_age(t.relminmxid), mxid_age(d.datminmxid)) as multixacts into v_table
    from pg_class c
    join pg_database d on d.datname = current_database()
    left join pg_class t on t.oid = c.reltoastrelid
   where c.oid = 'messages'::regclass;
  return query select f."check", f.ok, f.detail, f.advice
    from _finding('wraparound',
    case when v_table.xids > v_limit or v_table.multixacts > 1.5 * current_setting('autovacuum_multixact_freeze_max_age')::numeric
         then format('the oldest rows are %s transactions and %s multixacts old, of at most 2 billion', v_table.xids, v_table.multixacts) end,
    format('the oldest rows are %s transactions old, of at most 2 billion', v_table.xids),
    'The server stops writing at 2 billion. Find what holds back vacuum (held snapshots, slots, prepared transactions), then run vacuum freeze in this database.') f;

  with expected (name, remedy) as (
    values ('messages_pkey', 'alter table %I.messages add constraint messages_pkey primary key (id)'),
           ('messages_ready_idx', 'create index concurrently messages_ready_idx on %I.messages (queue_id, priority, ready_at, id)'),
           ('messages_dedup_idx', 'create unique index concurrently messages_dedup_idx on %I.messages (dedup_key, queue_id) where dedup_key is not null')
  ), found as (
    select c.relname as name, i.indisvalid and i.indisready as is_usable
      from pg_index i join pg_class c on c.oid = i.indexrelid
     where i.indrelid = 'messages'::regclass
  )
  select string_agg(case when f.name is null then format('%s is missing', e.name)
                         when e.name is null then format('%s is not of dueq', f.name)
                         else format('%s is invalid', f.name) end, ', ' order by coalesce(e.name, f.name)),
         string_agg(case when f.name is null then format(e.remedy, current_schema())
                         when e.name is null then format('drop index concurrently %I.%I', current_schema(), f.name)
                         else format('reindex index concurrently %I.%I', current_schema(), f.name) end || ';', ' ' order by coalesce(e.name, f.name))
    into v_found, v_remedy
    from expected e full join found f on f.name = e.name
   where e.name is null or f.name is null or not f.is_usable;
  return query select f."check", f.ok, f.detail, f.advice
    from _finding('indexes', v_found, 'those of messages are there, valid, and no others',
    concat('Without messages_ready_idx every claim reads the whole table; an index that is not of dueq is written three times a message. As the owner: ', v_remedy)) f;

  -- Behind the ids in use, after a restore or a fail-over to a logical replica (which copies no sequences), enqueue fails.
  v_max_id := greatest((select max(m.id) from messages m), (select max(d.id) from dead_letters d), 0);
  select coalesce(s.last_value, 0) into v_last_id
    from pg_sequences s
   where format('%I.%I', s.schemaname, s.sequencename) = v_sequence and has_sequence_privilege(v_sequence, 'select, usage');
  return query select f."check", f.ok, f.detail, f.advice
    from _finding('ids',
    case when v_last_id < v_max_id then format('the sequence stands at %s, but id %s is in use', v_last_id, v_max_id)
         when greatest(v_last_id, v_max_id) > 9e18 then format('id %s is in use, of at most 9223372036854775807', greatest(v_last_id, v_max_id)) end,
    case when v_last_id is null then format('the highest id is %s; the sequence is not visible to role %s', v_max_id, current_user)
         else format('the sequence stands at %s', v_last_id) end,
    case when v_last_id < v_max_id
         then format('Enqueue fails, or hands ids out twice. Move it behind every id that may have been in use: select setval(%L, %s)', v_sequence, v_max_id + 1000000)
         else 'Only an id written by hand leads there: delete what has it, and set the sequence back with setval.' end) f;
end
$$;

-- How many messages a look at a queue counts at most, for each priority level.
create function _look_limit() returns integer
language sql immutable parallel safe
as $$ select 1000 $$;

-- _front: a look at the front of a queue, a few index probes for each priority level.
-- Returns: since when the oldest message has been ready (null: none), how many are ready (of each level at most _look_limit),
-- whether anything is leased, and of the first 100 of each level those that have lapsed, with their consumers.
-- A lease is looked for among the next _look_limit messages of each level that are not ready: they are ordered by its end.
create function _front(queue_id integer, levels smallint[], at timestamptz,
  out ready_since timestamptz, out waiting bigint, out is_leased boolean, out lapsed bigint, out lapsed_by text)
language plpgsql volatile
as $$
#variable_conflict use_column
declare
  v_level smallint;
  v_front record;
begin
  waiting := 0;
  lapsed := 0;
  is_leased := false;
  foreach v_level in array levels loop
    select min(w.ready_at) as since, count(*) as count into v_front
      from (
        select m.ready_at from messages m
         where m.queue_id = _front.queue_id and m.priority = v_level and m.ready_at <= at
         order by m.ready_at, m.id
         limit _look_limit()
      ) w;
    ready_since := least(ready_since, v_front.since);
    waiting := waiting + v_front.count;

    select count(*) as count, string_agg(distinct w.leased_by, ', ') as consumers into v_front
      from (
        select m.leased_by, m.lapses, m.ready_at from messages m
         where m.queue_id = _front.queue_id and m.priority = v_level
         order by m.ready_at, m.id
         limit 100
      ) w
     where w.lapses > 0 or w.leased_by is not null and w.ready_at <= at;
    lapsed := lapsed + v_front.count;
    lapsed_by := coalesce(lapsed_by, left(v_front.consumers, 200));

    is_leased := is_leased or waiting > 0 and exists (
      select from (
        select m.leased_by from messages m
         where m.queue_id = _front.queue_id and m.priority = v_level and m.ready_at > at
         order by m.ready_at, m.id
         limit _look_limit()
      ) w where w.leased_by is not null);
  end loop;
end
$$;

-- _look_took: how long the search for the first ready message of a queue takes, which is what a look without a hint begins with.
create function _look_took(queue_id integer, levels smallint[], at timestamptz) returns interval
language plpgsql volatile
as $$
#variable_conflict use_column
declare
  v_start timestamptz := clock();
  v_level smallint;
begin
  foreach v_level in array levels loop
    perform m.ready_at from messages m
      where m.queue_id = _look_took.queue_id and m.priority = v_level and m.ready_at <= at
      order by m.ready_at, m.id
      limit 1;
  end loop;
  return clock() - v_start;
end
$$;

-- _refused_until: until when producers were refused last, because the queue was full; null where there was room since, or that
-- may not be seen. With the rights of the owner, for who calls the doctor has none on the sequences.
create function _refused_until(queue_id integer, max_depth integer) returns timestamptz
language plpgsql volatile security definer
set search_path from current
as $$
declare
  v_tickets regclass := to_regclass('depth_tickets_' || queue_id);
  v_base regclass := to_regclass('depth_base_' || queue_id);
  v_pause regclass := to_regclass('depth_pause_' || queue_id);
begin
  if has_sequence_privilege(v_tickets, 'select') and has_sequence_privilege(v_base, 'select') and has_sequence_privilege(v_pause, 'select')
     and pg_sequence_last_value(v_tickets) >= pg_sequence_last_value(v_base) + max_depth then
    return to_timestamp(pg_sequence_last_value(v_pause) / 1e6::double precision);
  end if;
  return null;
end
$$;

-- _check_queues: what waits in the queues, and why. Without messages_ready_idx every probe would read the whole table, so
-- then nothing is looked at.
create function _check_queues() returns table ("check" text, ok boolean, detail text, advice text)
language plpgsql volatile
set lock_timeout = '1s'
as $$
#variable_conflict use_column
declare
  v_now timestamptz := clock();
  v_listening bigint;
  v_polling bigint;
  v_paused text;
  v_gone text;
  v_stuck text;
  v_late text;
  v_slow text;
  v_lapsed text;
  v_dead text;
  v_full text;
  v_unseen text;
  v_strays text;
  v_text text;
  v_count bigint;
  q record;
begin
  if not exists (select from pg_index i where i.indexrelid = to_regclass('messages_ready_idx') and i.indisvalid) then
    return query select f."check", f.ok, f.detail, f.advice
      from unnest(array['paused queues', 'consumers gone', 'consumers stuck', 'late queues', 'slow looks', 'full queues', 'lapsed leases', 'dead letters', 'orphans']) n
     cross join lateral _finding(n, 'not looked at: without messages_ready_idx that takes too long', null, 'Make that index again (see indexes), and ask again.') f;
    return;
  end if;

  -- A connection of dueq that listens says nothing else but a notification to itself. Others poll; only those that did of late count.
  select count(*) filter (where a.query ~* format('^\s*(listen\s+"?%1$s"?\s*(;.*)?|notify\s+"%1$s_[0-9a-f]{10}".*)$', current_schema())
                             or a.backend_type is null and a.application_name = 'dueq listen'),
         count(*) filter (where a.query ~* format('\m%s"?\.(poll|dequeue)\(', current_schema())
                            and a.query_start > v_now - (select interval '1 minute' + max(s.poll_interval) from queues s))
    into v_listening, v_polling
    from pg_stat_activity a where a.datname = current_database() and a.pid <> pg_backend_pid();

  for q in
    select s.id, s.name, s.paused_at, s.poll_interval, s.max_depth, _look_took(s.id, s.priorities, v_now) as look_took, f.ready_since, f.waiting, f.is_leased, f.lapsed, f.lapsed_by
      from queues s cross join _front(s.id, s.priorities, v_now) f
     order by s.name
  loop
    v_text := format('%s%s waiting, the oldest for %s', case when q.waiting >= _look_limit() then 'at least ' end, q.waiting,
                     date_trunc('second', v_now - q.ready_since));
    if q.paused_at is not null then
      if q.waiting > 0 then
        v_paused := concat_ws('; ', v_paused, format('%s (%s, paused since %s)', q.name, v_text, date_trunc('second', q.paused_at)));
      end if;
    elsif q.ready_since < v_now - (q.poll_interval + interval '10 seconds') and not q.is_leased and v_listening + v_polling = 0 then
      v_gone := concat_ws('; ', v_gone, format('%s (%s)', q.name, v_text));
    elsif q.ready_since < v_now - greatest(interval '1 minute', q.poll_interval + interval '10 seconds') then
      if q.is_leased then
        v_late := concat_ws('; ', v_late, format('%s (%s)', q.name, v_text));
      else
        v_stuck := concat_ws('; ', v_stuck, format('%s (%s)', q.name, v_text));
      end if;
    end if;
    if 20 * q.look_took > q.poll_interval then
      v_slow := concat_ws('; ', v_slow, format('%s (%s ms)', q.name, round(extract(epoch from q.look_took) * 1000)));
    end if;
    if q.max_depth is not null and has_sequence_privilege(to_regclass('depth_base_' || q.id), 'select') is not true then
      v_unseen := concat_ws(', ', v_unseen, q.name);
    end if;
    if q.max_depth is not null and _refused_until(q.id, q.max_depth) > v_now - interval '1 minute' then
      v_full := concat_ws('; ', v_full, format('%s (max_depth %s)', q.name, q.max_depth));
    end if;
    if q.lapsed >= 10 then
      v_lapsed := concat_ws('; ', v_lapsed, format('%s (%s of the next have lapsed%s)', q.name, q.lapsed, ', of ' || q.lapsed_by));
    end if;
    select count(*) into v_count
      from (select from dead_letters d where d.queue_id = q.id limit _look_limit()) w;
    if v_count > 0 then
      v_dead := concat_ws('; ', v_dead, format('%s (%s%s)', q.name, case when v_count >= _look_limit() then 'at least ' end, v_count));
    end if;
  end loop;

  return query select f."check", f.ok, f.detail, f.advice
    from _finding('paused queues', v_paused, 'no paused queue has messages waiting',
    'resume_queue(queue) ends the pause.') f;
  return query select f."check", f.ok, f.detail, f.advice
    from _finding('consumers gone', v_gone,
    format('%s sessions listen', v_listening),
    'Messages are ready, nothing of the queue is leased, and no session listens or polls: start consumers, and read in their logs why they ended.') f;
  return query select f."check", f.ok, f.detail, f.advice
    from _finding('consumers stuck', v_stuck, 'no queue is passed over',
    format('%s sessions listen and %s polled of late, yet nothing of the queue is leased: its consumer was not started, hangs, or is kept off by a transaction (see message locks).',
           v_listening, v_polling)) f;
  return query select f."check", f.ok, f.detail, f.advice
    from _finding('late queues', v_late, 'nothing has been ready for more than a minute while others were handled',
    'Consumers work and do not keep up: start more, raise their concurrency, or make handlers faster.') f;
  return query select f."check", f.ok, f.detail, f.advice
    from _finding('slow looks', v_slow, 'a look at everything takes less than a twentieth of the poll interval',
    'Each look at everything walks what vacuum could not remove (see held snapshots). Consumers make one in 20 times its length at most, so a message whose notification was lost is late by that, not by a poll interval.') f;
  return query select f."check", f.ok, f.detail, f.advice
    from _finding('full queues', v_full, coalesce('not visible to role ' || current_user || ' of ' || v_unseen, 'no queue was at its max_depth within the last minute'),
    'Enqueue was refused, or had to wait: consumers do not keep up (see consumers gone, consumers stuck, late queues), or raise max_depth by create_queue.') f;
  return query select f."check", f.ok, f.detail, f.advice
    from _finding('lapsed leases', v_lapsed, 'few of the next messages have lapsed before',
    'Consumers crash, hang, or are cut off from the database. Read their logs; last_error in message_states names the consumer.') f;
  return query select f."check", f.ok, f.detail, f.advice
    from _finding('dead letters', v_dead, 'none',
    'Look at the view dead_messages, mend the cause, then redrive(queue) or purge_dead(queue).') f;

  -- From one (queue, level) to the next by the index, not through all messages.
  with recursive levels (queue_id, priority) as (
    (select m.queue_id, m.priority from messages m order by m.queue_id, m.priority limit 1)
    union all
    select n.queue_id, n.priority
      from levels l
     cross join lateral (
             select m.queue_id, m.priority from messages m
              where (m.queue_id, m.priority) > (l.queue_id, l.priority)
              order by m.queue_id, m.priority
              limit 1
           ) n
  )
  select string_agg(case when s.id is null then format('messages of queue_id %s, which does not exist', l.queue_id)
                         else format('messages of %s with priority %s, which its row does not list', s.name, l.priority) end, '; ')
    into v_strays
    from levels l left join queues s on s.id = l.queue_id
   where s.id is null or not l.priority = any(s.priorities);
  return query select f."check", f.ok, f.detail, f.advice
    from _finding('orphans', v_strays, 'every message can be found from its queue',
    'Rows were changed by hand, so nobody will ever claim these. Delete them, or restore the row of the queue with its id and priorities.') f;
end
$$;
