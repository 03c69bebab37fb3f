-- Views for people, dashboards and the command line. They read the clock once per query.

create view queue_settings as
select q.name as queue, q.lease, q.max_attempts, q.backoff_base, q.backoff_max, q.poll_interval, q.priorities, q.paused_at, q.created_at,
       q.max_depth, q.max_payload_bytes
  from queues q;

comment on view queue_settings is 'The stored settings of each queue.';

create view message_states as
select m.id,
       q.name as queue,
       case
         when m.leased_by is not null and m.ready_at > t.now then 'leased'
         when m.leased_by is not null then 'lapsed'
         when m.ready_at > t.now then 'delayed'
         else 'ready'
       end as state,
       m.priority, m.due_at, m.ready_at, m.enqueued_at, m.attempt, m.failures, m.lapses, m.leased_by,
       m.dedup_key, m.headers, m.payload, m.last_error
  from messages m
  join queues q on q.id = m.queue_id
 cross join (select clock() as now offset 0) t;

comment on view message_states is 'Every live message with its queue and state: delayed, ready, leased or lapsed.';
comment on column message_states.state is 'delayed: ready_at is ahead. ready: may be dequeued. leased: a consumer holds it until ready_at. lapsed: its consumer did not settle in time, and it may be dequeued again.';
comment on column message_states.leased_by is 'The consumer that holds the lease, or held the lapsed one.';

create view dead_messages as
select d.id, q.name as queue, d.reason, d.died_at, d.attempt, d.failures, d.lapses, d.priority, d.due_at, d.enqueued_at,
       d.dedup_key, d.headers, d.payload, d.last_error
  from dead_letters d
  join queues q on q.id = d.queue_id;

comment on view dead_messages is 'Every dead letter with its queue.';

create view queue_stats as
select q.name as queue,
       coalesce(m.delayed, 0) as delayed,
       coalesce(m.ready, 0) as ready,
       coalesce(m.leased, 0) as leased,
       coalesce(m.lapsed, 0) as lapsed,
       (select count(*) from dead_letters d where d.queue_id = q.id) as dead,
       m.ready_for,
       m.next_ready_at,
       q.paused_at,
       q.max_depth
  from queues q
  left join (
    select s.queue_id,
           count(*) filter (where s.leased_by is null and s.ready_at > s.now) as delayed,
           count(*) filter (where s.leased_by is null and s.ready_at <= s.now) as ready,
           count(*) filter (where s.leased_by is not null and s.ready_at > s.now) as leased,
           count(*) filter (where s.leased_by is not null and s.ready_at <= s.now) as lapsed,
           max(s.now - s.ready_at) filter (where s.ready_at <= s.now) as ready_for,
           min(s.ready_at) as next_ready_at
      from (select m.queue_id, m.leased_by, m.ready_at, t.now from messages m cross join (select clock() as now offset 0) t) s
     group by s.queue_id
  ) m on m.queue_id = q.id;

comment on view queue_stats is 'One row for each queue: how many messages are in which state. Counts all messages, so its cost grows with the backlog.';
comment on column queue_stats.ready_for is 'For how long the oldest ready or lapsed message has been ready; null where none is. The number to alert on.';
comment on column queue_stats.max_depth is 'Enqueue is refused when delayed, ready, leased and lapsed together reach this; null: no limit.';
comment on column queue_stats.next_ready_at is 'The earliest ready_at of the queue.';
