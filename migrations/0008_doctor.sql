-- doctor: looks for what makes queues slow, late or unsafe.
-- Changes, Locks: nothing. Reads the statistics of this database that the calling role may see.
-- Returns: one row for each check: its name, whether all is well, what was found, and what to do about it (null if well).
create function doctor() returns table ("check" text, ok boolean, detail text, advice text)
language plpgsql volatile
set search_path from current
as $$
#variable_conflict use_column
declare
  v_now timestamptz := clock();
  v_found text;
  v_table record;
begin
  return query select 'schema', true, format('schema %s, version %s, PostgreSQL %s', current_schema(), schema_version(), current_setting('server_version')), null::text;

  select string_agg(format('pid %s (%s, %s, user %s) for %s', a.pid, coalesce(nullif(a.application_name, ''), 'no application_name'),
                           a.state, a.usename, date_trunc('second', clock_timestamp() - a.xact_start)), '; ' order by a.xact_start)
    into v_found
    from pg_stat_activity a
   where a.datname = current_database() and a.backend_xmin is not null and a.pid <> pg_backend_pid()
     and a.backend_type = 'client backend' and a.xact_start < clock_timestamp() - interval '1 minute';
  return query select 'held snapshots', v_found is null, coalesce(v_found, 'no transaction is older than a minute'),
    case when v_found is not null then 'While they last vacuum removes nothing and dequeue slows down. End them, and set idle_in_transaction_session_timeout.' end;

  select string_agg(format('slot %s%s', s.slot_name, case when s.active then '' else ' (inactive)' end), '; ') into v_found
    from pg_replication_slots s
   where (age(s.xmin) > 1000000 or age(s.catalog_xmin) > 1000000) and (s.database is null or s.database = current_database());
  return query select 'replication slots', v_found is null, coalesce(v_found, 'none holds back vacuum'),
    case when v_found is not null then 'Drop slots that nobody reads: they hold back vacuum like an open transaction.' end;

  select string_agg(format('%s: xid %s prepared at %s', p.gid, p.transaction, p.prepared), '; ') into v_found
    from pg_prepared_xacts p where p.database = current_database() and p.prepared < clock_timestamp() - interval '1 minute';
  return query select 'prepared transactions', v_found is null, coalesce(v_found, 'none is older than a minute'),
    case when v_found is not null then 'Commit or roll them back: they hold locks and hold back vacuum.' end;

  select s.n_live_tup, s.n_dead_tup, s.last_autovacuum, pg_total_relation_size(s.relid) as size into v_table
    from pg_stat_all_tables s where s.relid = 'messages'::regclass;
  return query select 'bloat', v_table.n_dead_tup <= 50000 + 10 * v_table.n_live_tup,
    format('%s live and %s dead rows in %s, last autovacuum %s', v_table.n_live_tup, v_table.n_dead_tup,
           pg_size_pretty(v_table.size), coalesce(v_table.last_autovacuum::text, 'never')),
    case when v_table.n_dead_tup > 50000 + 10 * v_table.n_live_tup
         then 'Autovacuum does not keep up: look for held snapshots, then at autovacuum_naptime and autovacuum_max_workers.' end;

  return query select 'autovacuum', current_setting('autovacuum')::boolean,
    format('autovacuum is %s, naptime %s', current_setting('autovacuum'), current_setting('autovacuum_naptime')),
    case when not current_setting('autovacuum')::boolean then 'Turn autovacuum on: a queue without it slows down within minutes.' end;

  return query select 'durability', current_setting('fsync')::boolean and current_setting('synchronous_commit') <> 'off',
    format('fsync is %s, synchronous_commit is %s', current_setting('fsync'), current_setting('synchronous_commit')),
    case when not current_setting('fsync')::boolean or current_setting('synchronous_commit') = 'off'
         then 'A crash of the server can lose acknowledged messages and hand an id out twice. Turn both on for the role that uses dueq.' end;

  return query select 'isolation', current_setting('default_transaction_isolation') = 'read committed',
    format('default_transaction_isolation is %s', current_setting('default_transaction_isolation')),
    case when current_setting('default_transaction_isolation') <> 'read committed'
         then 'Above READ COMMITTED dequeue and nack may raise 40001: set the default back for the role that uses dueq, or retry.' end;

  return query select 'notifications', pg_notification_queue_usage() < 0.5,
    format('notification queue %s%% full', round((100 * pg_notification_queue_usage())::numeric, 1)),
    case when pg_notification_queue_usage() >= 0.5
         then 'A session that listens has been in one transaction for long: find it among the held snapshots. Until then dueq does not notify.' end;

  select string_agg(format('%s (%s waiting, since %s)', s.queue, s.ready + s.lapsed, s.paused_at), '; ') into v_found
    from queue_stats s where s.paused_at is not null and s.ready + s.lapsed > 0;
  return query select 'paused queues', v_found is null, coalesce(v_found, 'no paused queue has messages waiting'),
    case when v_found is not null then 'resume_queue(queue) ends the pause.' end;

  select string_agg(format('%s (%s waiting, the oldest for %s)', s.queue, s.ready + s.lapsed, date_trunc('second', s.ready_for)), '; ') into v_found
    from queue_stats s where s.paused_at is null and s.ready_for > interval '1 minute';
  return query select 'late queues', v_found is null, coalesce(v_found, 'nothing has been ready for more than a minute'),
    case when v_found is not null then 'Consumers are gone, stuck, or too few.' end;

  select string_agg(format('%s (%s)', s.queue, s.dead), '; ') into v_found from queue_stats s where s.dead > 0;
  return query select 'dead letters', v_found is null, coalesce(v_found, 'none'),
    case when v_found is not null then 'Look at the view dead_messages, mend the cause, then redrive(queue) or purge_dead(queue).' end;

  select count(*)::text into v_found from messages m where not exists (select from queues q where q.id = m.queue_id) having count(*) > 0;
  return query select 'orphans', v_found is null, coalesce(v_found || ' messages without a queue', 'every message has its queue'),
    case when v_found is not null then 'Rows of queues were deleted by hand. Delete the messages too, or restore the queue with its id.' end;
end
$$;

comment on function doctor is 'Looks for what makes queues slow, late or unsafe, and says what to do about it.';
