-- The limit of a queue's depth, queues.max_depth: how a producer knows that there is room, mostly without counting and never
-- with a lock. The depth is the number of live messages: delayed, ready, leased and lapsed; dead letters do not count.
--
-- Each message that is enqueued draws a ticket. When the messages are counted, the count is remembered as the number that the
-- tickets had when the queue would have been empty, `base` = tickets drawn before the count - messages counted. A ticket is
-- good up to base + max_depth. When they are used up, whoever comes next counts again, and sees what consumers took meanwhile.
-- Consumers do nothing for it.
--
-- Tickets, base, and the pause after a count that found little room are sequences, because those are outside transactions: no
-- row is locked until somebody's commit, none is rewritten (a held snapshot keeps nothing of them), and what was counted is known
-- to all at once, also where it was counted in a transaction that stays open.
--
-- Invariant: depth <= max_depth + what transactions bring that were open, and not yet committed, when the messages were counted.
-- All that draws its ticket after a count is within the limit, whoever else counts: each base is right by itself. What
-- is rolled back has drawn its tickets for nothing, and the next count gives the room back.

-- _depth_sequence: one of the three sequences of a queue: tickets, base or pause.
create function _depth_sequence(part text, queue_id integer) returns regclass
language sql stable
as $$ select ('depth_' || part || '_' || queue_id)::regclass $$;

-- _limit_depth: makes the sequences of a queue where there are none yet, and forgets what was counted, and the pause. A count from
-- before a time without a limit says nothing; and until the limit is committed nobody counts.
-- Changes: adds three sequences. Locks: none that anybody waits for.
create function _limit_depth(queue_id integer) returns void
language plpgsql volatile
as $$
declare
  v_part text;
begin
  foreach v_part in array '{tickets,base,pause}'::text[] loop
    if to_regclass(format('depth_%s_%s', v_part, queue_id)) is null then
      execute format('create sequence depth_%s_%s minvalue -9000000000000000000 start 0', v_part, queue_id);
    end if;
    perform setval(_depth_sequence(v_part, queue_id), case v_part when 'base' then -9000000000000000000 else 0 end)
      where v_part <> 'tickets' or pg_sequence_last_value(_depth_sequence(v_part, queue_id)) is null;
  end loop;
end
$$;

-- _unlimit_depth: removes the sequences of a queue that is dropped.
create function _unlimit_depth(queue_id integer) returns void
language plpgsql volatile
as $$
begin
  execute format('drop sequence if exists depth_tickets_%1$s, depth_base_%1$s, depth_pause_%1$s', queue_id);
end
$$;

-- _count_depth: counts the messages of a queue, up to its limit, and remembers the count. `drawn`: the tickets drawn before.
-- Where it finds little room the next count has to wait for twenty times as long as this one took: so much of the time of one
-- processor goes into counting at a full queue, and room is seen so late.
-- Above READ COMMITTED the snapshot may be older than the tickets, so what it says holds for the caller only.
-- Changes: nothing but sequences. Locks: none. Returns: how much room there is.
create function _count_depth(queue_id integer, max_depth integer, drawn bigint) returns integer
language plpgsql volatile
as $$
#variable_conflict use_column
declare
  v_start timestamptz := clock();
  v_end timestamptz;
  v_room integer;
begin
  select _count_depth.max_depth - count(*) into v_room
    from (select from messages m where m.queue_id = _count_depth.queue_id limit _count_depth.max_depth) c;
  if current_setting('transaction_isolation') <> 'read committed' then
    return v_room;
  end if;
  -- At the limit there may be more messages than were counted: then no ticket is good, whatever the limit becomes.
  perform setval(_depth_sequence('base', queue_id), case when v_room > 0 then drawn - max_depth + v_room else -9000000000000000000 end);
  if v_room < max_depth / 16 + 1 then
    v_end := clock();
    perform setval(_depth_sequence('pause', queue_id), case when v_end > v_start then
                   (date_part('epoch', v_end + least(20 * (v_end - v_start), interval '10 seconds')) * 1000000)::bigint else 0 end);
  end if;
  return v_room;
end
$$;

-- _has_tickets: draws tickets for so many messages, where there are good ones for all. Of each row of tickets one caller counts
-- ahead, when an eighth of the limit is left: so that the others need not count, all at once, when they are used up.
-- Its own messages are not there to be counted, so their tickets count as not drawn.
create function _has_tickets(queue_id integer, max_depth integer, wanted integer) returns boolean
language plpgsql volatile
as $$
declare
  v_tickets regclass := 'depth_tickets_' || queue_id;
  v_last bigint := pg_sequence_last_value(('depth_base_' || queue_id)::regclass) + max_depth;
  v_drawn bigint;
  v_ticket bigint;
begin
  if pg_sequence_last_value(v_tickets) + wanted > v_last then
    return false;
  end if;
  if wanted = 1 then
    v_ticket := nextval(v_tickets);
    v_drawn := v_ticket - 1;
  else
    select min(t.ticket) - 1, max(t.ticket) into v_drawn, v_ticket
      from (select nextval(v_tickets) as ticket from generate_series(1, wanted)) t;
  end if;
  if v_last - max_depth / 8 between v_drawn + 1 and v_ticket and max_depth >= 8 then
    perform _count_depth(queue_id, max_depth, v_drawn);
  end if;
  return v_ticket <= v_last;
end
$$;

-- _new_count: how many of `count` messages are new: have no dedup key that a live message has. Those need no room, so that what was
-- enqueued can be repeated safely at a full queue. A probe for each key: a join was seen to walk the whole index.
create function _new_count(queue_id integer, dedup_keys text[], count integer) returns integer
language plpgsql volatile
as $$
#variable_conflict use_column
begin
  return _new_count.count - count(k.dedup_key) filter (where k.live_id is not null or k.dedup_key = k.previous)
    from (select d.dedup_key, lag(d.dedup_key) over (order by d.dedup_key) as previous,
                 (select m.id from messages m where m.dedup_key = d.dedup_key and m.queue_id + 0 = _new_count.queue_id limit 1) as live_id
            from unnest(dedup_keys) as d (dedup_key)
           where d.dedup_key is not null) k;
end
$$;

-- _take_room: draws tickets for `wanted` messages, all or none, and counts where there are none.
-- Changes: nothing but sequences. Locks: none. Raises: DQ007; its detail is JSON.
create function _take_room(queue queues, wanted integer) returns void
language plpgsql volatile
as $$
declare
  v_tickets regclass := _depth_sequence('tickets', queue.id);
  v_drawn bigint;
  v_last bigint;
  v_room integer := 0;
  v_again_us bigint;
  v_has_counted boolean := false;
begin
  if wanted = 0 then
    return;
  end if;
  loop
    v_last := pg_sequence_last_value(_depth_sequence('base', queue.id)) + queue.max_depth;
    v_drawn := pg_sequence_last_value(v_tickets);
    if v_last - v_drawn >= wanted then
      select max(nextval(v_tickets)) into v_drawn from generate_series(1, wanted);
      if v_drawn <= v_last then
        return;
      end if;
    end if;
    v_again_us := pg_sequence_last_value(_depth_sequence('pause', queue.id)) - (date_part('epoch', clock()) * 1000000)::bigint;
    -- A pause that is longer than any was made before the clock stepped back.
    exit when v_has_counted or v_again_us between 1 and 10000000;
    v_room := _count_depth(queue.id, queue.max_depth, v_drawn);
    v_has_counted := true;
    if v_room >= wanted and current_setting('transaction_isolation') <> 'read committed' then
      return;
    end if;
  end loop;

  v_room := greatest(least(case when v_has_counted then v_room else v_last - v_drawn end, wanted - 1, queue.max_depth), 0);
  raise exception using errcode = 'DQ007',
    message = case when wanted > queue.max_depth
                   then format('%s messages at once are more than queue "%s" may hold, whose max_depth is %s', wanted, queue.name, queue.max_depth)
                   else format('queue "%s" is full: it holds %s%s messages, its max_depth is %s', queue.name,
                               case when v_room = 0 then 'at least ' end, queue.max_depth - v_room, queue.max_depth) end,
    detail = json_build_object('queue', queue.name, 'depth', queue.max_depth - v_room, 'max_depth', queue.max_depth,
                               'room', v_room, 'wanted', wanted, 'again_ms', case when v_again_us between 1 and 10000000 then v_again_us / 1000.0 else 0 end),
    hint = case when wanted > queue.max_depth then 'Enqueue fewer at once, or raise max_depth by create_queue.'
                else 'Try again when consumers have taken some (enqueue with `wait` in TypeScript), or raise max_depth by create_queue.' end;
end
$$;
