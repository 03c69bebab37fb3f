-- doctor: looks for what makes queues slow, late or unsafe. Each check is one row; docs/operations.md has a table of them.
--
-- Every look is bounded, so that doctor answers in milliseconds when it is needed most, at a million messages: statistics,
-- the catalog, and a few index probes for each queue and priority level, never a count of all messages.
-- What the calling role may not see of other sessions is said, not passed over: without pg_read_all_stats the transaction
-- id, the snapshot and the locks of a session are visible, its state, its query and its age are not.

-- _finding: one row of doctor: well where there is no problem, and only otherwise with advice.
create function _finding("check" text, problem text, otherwise text, remedy text)
returns table ("check" text, ok boolean, detail text, advice text)
language sql immutable
as $$ select _finding."check", problem is null, coalesce(problem, otherwise), case when problem is not null then remedy end $$;

-- _sees_sessions: whether the calling role sees what sessions of other roles do.
create function _sees_sessions() returns boolean
language sql stable
as $$ select pg_has_role(current_user, 'pg_read_all_stats', 'usage') $$;

-- _session_text: a session as an operator wants to read it. Without pg_read_all_stats the start of its transaction is null.
create function _session_text(pid integer, application text, role name, state text, xact_start timestamptz, at timestamptz)
returns text
language sql stable
as $$
  select format(case when xact_start is null then 'pid %1$s (%2$s, user %3$s), since when is not visible to role %6$s'
                     else 'pid %1$s (%2$s, %4$s, user %3$s) for %5$s' end,
                pid, coalesce(nullif(application, ''), 'no application_name'), role, state,
                date_trunc('second', at - xact_start), current_user)
$$;

-- _check_server: the server and the settings of the calling session.
create function _check_server() returns table ("check" text, ok boolean, detail text, advice text)
language plpgsql volatile
as $$
#variable_conflict use_column
declare
  v_before timestamptz := clock_timestamp();
  v_clock timestamptz := clock();
  v_is_own boolean;
  v_used bigint;
  v_allowed integer;
  v_low text;
begin
  return query select f."check", f.ok, f.detail, f.advice
    from _finding('schema', null,
    format('schema %s, version %s, PostgreSQL %s', current_schema(), schema_version(), current_setting('server_version')), null) f;

  return query select f."check", f.ok, f.detail, f.advice
    from _finding('writable',
    case when pg_is_in_recovery() then 'this server is a standby, it takes no writes'
         when current_setting('transaction_read_only')::boolean then 'transactions of this session are read-only' end,
    'the server takes writes',
    'Nothing can be enqueued, claimed or settled here. Connect to the primary (give the URL all hosts: dueq finds it), or look at default_transaction_read_only.') f;

  -- The text of the function decides as well: a test clock may stand at no offset today.
  select p.prosrc ~ '^\s*select pg_catalog\.clock_timestamp\(\)\s*$' into v_is_own
    from pg_proc p where p.oid = 'clock()'::regprocedure;
  return query select f."check", f.ok, f.detail, f.advice
    from _finding('clock',
    case when not v_is_own
         then format('clock() was replaced; it is %s from the time of the server', date_trunc('milliseconds', v_clock - v_before)) end,
    format('clock() is the time of the server, %s', v_clock),
    'A clock for tests was left in place. Put the own one back: create or replace function clock() … as in docs/schema.sql.') f;

  return query select f."check", f.ok, f.detail, f.advice
    from _finding('durability',
    case when not current_setting('fsync')::boolean or current_setting('synchronous_commit') = 'off'
         then format('fsync is %s, synchronous_commit is %s', current_setting('fsync'), current_setting('synchronous_commit'))
         when current_setting('synchronous_commit') = 'local' and current_setting('synchronous_standby_names') <> ''
         then 'synchronous_commit is local, so that commits do not wait for the standbys of synchronous_standby_names' end,
    format('fsync is on, synchronous_commit is %s%s', current_setting('synchronous_commit'),
      case when current_setting('synchronous_standby_names') <> ''
           then format(', commits wait for standbys (%s)', current_setting('synchronous_standby_names'))
           -- Who receives a slot's changes is no standby that could be promoted.
           when exists (select from pg_stat_replication r where not exists (
                  select from pg_replication_slots s where s.active_pid = r.pid and s.slot_type = 'logical'))
           then ', commits wait for no standby: an unplanned fail-over can lose what was acknowledged last' end),
    'A crash of the server, or a fail-over, can lose acknowledged messages and hand an id out twice. Turn them on for the role that uses dueq.') f;

  return query select f."check", f.ok, f.detail, f.advice
    from _finding('isolation',
    case when current_setting('default_transaction_isolation') <> 'read committed'
         then format('default_transaction_isolation is %s', current_setting('default_transaction_isolation')) end,
    'default_transaction_isolation is read committed',
    'Above READ COMMITTED dequeue and nack may raise 40001: set the default back for the role that uses dueq, or retry.') f;

  -- In ms. An enqueue with a dedup key waits up to 2 s for another one; a connection that listens is idle all its life.
  select string_agg(format('%s is %s', s.name, current_setting(s.name)), ', ' order by s.name) into v_low
    from pg_settings s
   where s.setting <> '0'
     and (s.name in ('statement_timeout', 'transaction_timeout') and s.setting::bigint < 5000
       or s.name = 'lock_timeout' and s.setting::bigint < 1000
       or s.name = 'idle_session_timeout');
  return query select f."check", f.ok, f.detail, f.advice
    from _finding('timeouts', v_low,
    format('none cuts off dueq; idle_in_transaction_session_timeout is %s', current_setting('idle_in_transaction_session_timeout')),
    'Statements, transactions and locks that end so early fail under load, and idle_session_timeout cuts the connection that listens. Raise them for the role that uses dueq (alter role … set …).') f;

  select sum(d.numbackends) into v_used from pg_stat_database d;
  v_allowed := current_setting('max_connections')::integer - current_setting('superuser_reserved_connections')::integer
    - coalesce(current_setting('reserved_connections', true)::integer, 0);
  return query select f."check", f.ok, f.detail, f.advice
    from _finding('connections',
    case when v_used >= 0.9 * v_allowed then format('%s of %s connections are in use', v_used, v_allowed) end,
    format('%s of %s connections are in use', v_used, v_allowed),
    'Consumers that restart may find no connection. Close what is idle, lower the size of pools, or put a pooler in between.') f;

  return query select f."check", f.ok, f.detail, f.advice
    from _finding('notifications',
    case when pg_notification_queue_usage() >= 0.5
         then format('the notification queue is %s%% full', round((100 * pg_notification_queue_usage())::numeric, 1)) end,
    format('the notification queue is %s%% full', round((100 * pg_notification_queue_usage())::numeric, 1)),
    'A session that listens has been in one transaction for long: end it (select pid from pg_stat_activity where state like ''idle in transaction%'' order by xact_start). Until then dueq does not notify.') f;
end
$$;

-- _check_sessions: who keeps vacuum from cleaning up, and messages from being claimed. `max_age` is in transactions.
create function _check_sessions(max_age integer default 1000000)
returns table ("check" text, ok boolean, detail text, advice text)
language plpgsql volatile
as $$
#variable_conflict use_column
declare
  v_now timestamptz := clock();
  v_grant text := case when not _sees_sessions() then format(' Grant pg_read_all_stats to %s, to see how old it is.', current_user) end;
  v_found text;
begin
  -- A vacuum holds back nothing, a WAL sender is a standby (below), a parallel worker belongs to its leader.
  select string_agg(_session_text(a.pid, a.application_name, a.usename, a.state, a.xact_start, v_now)
                      || format(', %s transactions', age(a.backend_xmin)), '; ' order by a.xact_start)
    into v_found
    from pg_stat_activity a
   where a.datname = current_database() and a.backend_xmin is not null and a.pid <> pg_backend_pid() and a.leader_pid is null
     and (a.backend_type is null and a.usesysid is not null
       or a.backend_type <> 'walsender' and a.xact_start < v_now - interval '1 minute')
     and not exists (select from pg_stat_progress_vacuum v where v.pid = a.pid);
  return query select f."check", f.ok, f.detail, f.advice
    from _finding('held snapshots', v_found,
    case when _sees_sessions() then 'no transaction with a snapshot is older than a minute'
         else format('no session of another role holds one right now; how old theirs are is not visible to role %s', current_user) end,
    concat('While they last vacuum removes nothing and dequeue slows down. End them, and set idle_in_transaction_session_timeout.', v_grant)) f;

  -- Whoever has enqueued, claimed or settled and not committed; readers and vacuum have other locks.
  select string_agg(_session_text(a.pid, a.application_name, a.usename, a.state, a.xact_start, v_now), '; ' order by a.xact_start) into v_found
    from pg_stat_activity a
   where a.datname = current_database() and a.pid <> pg_backend_pid()
     and (a.xact_start < v_now - interval '1 minute' or a.backend_type is null)
     and exists (
       select from pg_locks l
        where l.pid = a.pid and l.locktype = 'relation' and l.relation = 'messages'::regclass and l.granted
          and l.database = (select d.oid from pg_database d where d.datname = current_database())
          and l.mode not in ('AccessShareLock', 'ShareUpdateExclusiveLock'));
  return query select f."check", f.ok, f.detail, f.advice
    from _finding('message locks', v_found,
    'no transaction has held messages for more than a minute',
    concat('Nobody can claim, or see, what an open transaction has enqueued, claimed or acked, whatever its lease says. End it (pg_terminate_backend), and set idle_in_transaction_session_timeout.', v_grant)) f;

  select string_agg(format('%s: xid %s prepared at %s', p.gid, p.transaction, p.prepared), '; ' order by p.prepared) into v_found
    from pg_prepared_xacts p where p.database = current_database() and p.prepared < v_now - interval '1 minute';
  return query select f."check", f.ok, f.detail, f.advice
    from _finding('prepared transactions', v_found, 'none is older than a minute',
    'Commit or roll them back: they hold locks and hold back vacuum.') f;

  select string_agg(format('slot %s%s (%s)', s.slot_name, case when s.active then '' else ', inactive' end, w.why), '; ' order by s.slot_name)
    into v_found
    from pg_replication_slots s
   cross join lateral (
           select concat_ws(', ',
                    case when greatest(age(s.xmin), age(s.catalog_xmin)) > max_age
                         then format('holds back vacuum by %s transactions', greatest(age(s.xmin), age(s.catalog_xmin))) end,
                    case when k.bytes > pg_size_bytes(current_setting('max_wal_size')) then format('keeps %s of WAL', pg_size_pretty(k.bytes)) end) as why
             from (select pg_wal_lsn_diff(case when pg_is_in_recovery() then pg_last_wal_replay_lsn() else pg_current_wal_lsn() end,
                                          s.restart_lsn) as bytes) k
         ) w
   where w.why <> '' and (s.database is null or s.database = current_database() or w.why like '%WAL');
  return query select f."check", f.ok, f.detail, f.advice
    from _finding('replication slots', v_found, 'none holds back vacuum or keeps more WAL than max_wal_size',
    'Drop slots that nobody reads (pg_drop_replication_slot): they hold back vacuum like an open transaction, and fill the disk with WAL.') f;

  select string_agg(format('standby %s (pid %s) by %s transactions', coalesce(nullif(r.application_name, ''), '?'), r.pid, age(r.backend_xmin)), '; ')
    into v_found
    from pg_stat_replication r where age(r.backend_xmin) > max_age;
  return query select f."check", f.ok, f.detail, f.advice
    from _finding('standbys', v_found, 'none holds back vacuum',
    'A query on that standby holds back vacuum here (hot_standby_feedback): end it, or give the standby a max_standby_streaming_delay instead.') f;
end
$$;

-- _table_locks_text: who has, or waits for, a table of dueq as a whole. A waiting one keeps off whoever comes after it.
create function _table_locks_text() returns text
language sql stable
as $$
  select string_agg(_session_text(a.pid, a.application_name, a.usename, a.state, a.xact_start, clock())
                      || format(' locks %s', l.relation::regclass)
                      || case when not l.granted then format(', as soon as pid %s ends', array_to_string(pg_blocking_pids(a.pid), ', ')) else '' end,
                    '; ' order by a.xact_start)
    from pg_locks l
    join pg_stat_activity a on a.pid = l.pid
   where l.locktype = 'relation' and l.mode = 'AccessExclusiveLock'
     and l.database = (select d.oid from pg_database d where d.datname = current_database())
     and l.relation in ('messages'::regclass, 'queues'::regclass, 'dead_letters'::regclass)
$$;

-- doctor: all checks; those of the tables and queues are in the next file.
-- Where a table is locked as a whole those cannot be made, and the row `table locks` says so instead of all of them.
-- Changes, Locks: nothing. Reads the statistics of this database that the calling role may see.
-- Returns: one row for each check: its name, whether all is well, what was found, and what to do about it (null if well).
create function doctor() returns table ("check" text, ok boolean, detail text, advice text)
language plpgsql volatile
set search_path from current
set standard_conforming_strings = on -- the patterns of its checks have backslashes
set enable_seqscan = off
set enable_bitmapscan = off
set jit = off
as $$
#variable_conflict use_column
begin
  return query select c."check", c.ok, c.detail, c.advice from _check_server() c;
  return query select c."check", c.ok, c.detail, c.advice from _check_sessions() c;
  begin
    return query select c."check", c.ok, c.detail, c.advice from _check_tables() c;
    return query select c."check", c.ok, c.detail, c.advice from _check_rights() c;
    return query select c."check", c.ok, c.detail, c.advice from _check_queues() c;
    return query select f."check", f.ok, f.detail, f.advice
      from _finding('table locks', null, 'no table of dueq is locked as a whole', null) f;
  exception when lock_not_available then
    return query select f."check", f.ok, f.detail, f.advice
      from _finding('table locks', coalesce(_table_locks_text(), 'a table of dueq was locked as a whole for a second'), null,
      'Nothing can be enqueued, claimed or settled, and the other checks of tables and queues cannot be made. Wait (vacuum full, alter table), or end that session (pg_terminate_backend).') f;
  end;
end
$$;

comment on function doctor is 'Looks for what makes queues slow, late or unsafe, and says what to do about it.';
