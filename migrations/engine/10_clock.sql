-- What every other function stands on: the one clock, the wake-up notification, and the checks of arguments.
-- Functions whose name begins with _ are internal: they run inside a public function, with its search_path.

-- clock() is the only place where dueq reads the time. Not now(), which is the start of the transaction: inside a
-- long transaction of a caller a delay would count from too early. Tests replace it by a clock they can move.
create function clock() returns timestamptz
language sql volatile parallel safe
as $$ select pg_catalog.clock_timestamp() $$;

comment on function clock() is 'The clock of dueq: clock_timestamp().';

create function schema_version() returns integer
language sql immutable parallel safe
as $$ select 102 $$;

comment on function schema_version() is 'Version of these tables and functions: generation * 100 + revision. A client works with every revision of its generation from its own on.';

-- _wake: tells sleeping consumers that something is ready at an instant, unless that is after their next look by themselves, or
-- none has announced that it sleeps: notifying commits wait for each other, in the whole cluster, and most find everybody busy.
-- Of what returns to an old place in the queue it always tells: that lies behind the hints of busy consumers (see poll).
-- Whoever announces looks again until all transactions that had a number by then are over. So `queue` must be read by a
-- statement whose transaction has its number already; above READ COMMITTED that is no help, for the snapshot is older.
-- Changes: nothing; queues a notification that the commit sends. Locks: none until commit, then the cluster-wide lock.
-- The notification is only a hint, and a full notification queue makes the committing transaction fail, so above
-- half of it dueq stays silent and lets the poll interval do the waking.
-- Payload: the queue, a space, the instant in seconds since 1970. The channel is the name of the schema.
-- Returns: true. A condition can call it then, and the planner writes its body there, which costs less than a statement.
create function _wake(queue queues, ready_at timestamptz, v_now timestamptz) returns boolean
language sql volatile
as $$
  select case when ready_at <= v_now + queue.poll_interval
               and (queue.sleepers_until > v_now or ready_at < v_now - interval '50 milliseconds'
                    or current_setting('transaction_isolation') <> 'read committed')
               and pg_notification_queue_usage() < 0.5
              then pg_notify(current_schema(), queue.name || ' ' || extract(epoch from ready_at)::text) is not null
              else true end
$$;

-- _unknown_queue: raises DQ001.
create function _unknown_queue(queue text) returns void
language plpgsql volatile
as $$
begin
  raise exception using errcode = 'DQ001',
    message = format('queue "%s" does not exist', left(queue, 200)),
    hint = 'Create it first: create_queue(queue => ''…'') in SQL, ensure([…]) in TypeScript, `dueq queue create` on the command line.';
end
$$;

-- _invalid: raises DQ002, for an argument out of its range.
create function _invalid(argument text, expected text, given text) returns void
language plpgsql volatile
as $$
begin
  raise exception using errcode = 'DQ002',
    message = format('expected %s to be %s, got %s', argument, expected, coalesce(given, 'null'));
end
$$;

-- _check_message: raises DQ002 or DQ003 where payload, headers, priority or dedup key are out of range.
-- The size is that of the JSON text, written out to be counted (0.4 µs for 150 bytes): the binary form says little, a
-- number such as 1e100000 is a few bytes of it, and a value from a table may be compressed.
create function _check_message(payload jsonb, headers jsonb, priority integer, dedup_key text, max_bytes integer) returns void
language plpgsql volatile
as $$
begin
  if payload is null then
    perform _invalid('payload', 'JSON (use the JSON value null for "nothing")', null);
  elsif octet_length(payload::text) > max_bytes then
    raise exception using errcode = 'DQ003',
      message = format('payload has %s bytes of JSON, the limit is %s', octet_length(payload::text), max_bytes),
      hint = 'Store the large part elsewhere and enqueue a reference to it; or raise max_payload_bytes of the queue by create_queue.';
  elsif jsonb_typeof(headers) <> 'object' then
    perform _invalid('headers', 'a JSON object', jsonb_typeof(headers));
  elsif pg_column_size(headers) > 65536 then
    perform _invalid('headers', 'at most 64 kB', pg_column_size(headers)::text || ' bytes');
  elsif priority is null or priority not between -100 and 100 then
    perform _invalid('priority', 'from -100 to 100 (smaller first)', priority::text);
  elsif octet_length(dedup_key) not between 1 and 512 then
    perform _invalid('dedup_key', '1 to 512 bytes long', octet_length(dedup_key)::text || ' bytes');
  end if;
end
$$;

-- _max_payload_bytes: the limit of a queue; the default where there is no such queue, which is told later.
create function _max_payload_bytes(queue text) returns integer
language sql stable
as $$ select coalesce((select q.max_payload_bytes from queues q where q.name = queue), 1048576) $$;

-- _is_plain: whether _check_message has nothing to say of payload and headers; null is no.
create function _is_plain(payload jsonb, headers jsonb, max_bytes integer) returns boolean
language sql stable
as $$
  select octet_length(payload::text) <= max_bytes
     and (headers is null or jsonb_typeof(headers) = 'object' and pg_column_size(headers) <= 65536)
$$;

-- _exactly: a delay as hours, minutes and seconds. Added to an instant, an interval of days means "the same time of day",
-- in the TimeZone of whoever calls: 23 or 25 hours where the clocks change. A delay of a day is 24 hours for everyone.
-- Ranges are checked in seconds too: compared as intervals '1 month -29 days' is a day, but added to an instant of February
-- it leads into the past; and a year compares as 360 days, but lasts 365.25.
create function _exactly(delay interval) returns interval
language sql immutable
as $$ select make_interval(secs => extract(epoch from delay)::double precision) $$;

-- _due_at: the instant that delay or at mean. Raises DQ002 for a negative or unbounded one, DQ004 for both at once.
create function _due_at(delay interval, at timestamptz, base timestamptz) returns timestamptz
language plpgsql immutable
as $$
begin
  if delay is null and at is null then
    return base;
  elsif delay is not null and at is not null then
    raise exception using errcode = 'DQ004',
      message = 'both delay and at are given', hint = 'Give one of them: delay counts from now, at is an instant.';
  elsif extract(epoch from delay) not between 0 and 3155760000 then
    perform _invalid('delay', 'from 0 to 100 years', delay::text);
  elsif not isfinite(at) or at > base + interval '100 years' then
    perform _invalid('at', 'an instant at most 100 years ahead', at::text);
  end if;
  return coalesce(at, base + _exactly(delay));
end
$$;

-- _plain_due_at: the same, but null where _due_at would raise. Small enough that the planner writes it into the statement.
create function _plain_due_at(delay interval, at timestamptz, base timestamptz) returns timestamptz
language sql stable
as $$
  select case when delay is null and at is null then base
              when delay is null and isfinite(at) and at <= base + interval '100 years' then at
              when at is null and extract(epoch from delay) between 0 and 3155760000 then base + _exactly(delay) end
$$;

-- _check_lease: raises DQ002 unless the lease is null or in range.
create function _check_lease(lease interval) returns void
language plpgsql immutable
as $$
begin
  if extract(epoch from lease) not between 1 and 43200 then
    perform _invalid('lease', 'from 1 second to 12 hours', lease::text);
  end if;
end
$$;
