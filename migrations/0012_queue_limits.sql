-- The limits of a queue: how many messages it holds, and how large a payload is. What keeps the first is in engine/15_depth.sql.
alter table queues
  add column max_depth integer,
  add column max_payload_bytes integer not null default 1048576,
  add constraint queues_max_depth_check check (max_depth between 1 and 100000000),
  add constraint queues_max_payload_bytes_check check (max_payload_bytes between 1 and 67108864);

comment on column queues.max_depth is 'With so many live messages (delayed, ready, leased, lapsed) enqueue is refused; null: no limit. What open transactions have enqueued comes on top.';
comment on column queues.max_payload_bytes is 'The most JSON of a payload, in bytes: 1 to 67108864.';
comment on column messages.payload is 'What the producer enqueued, JSON, at most queues.max_payload_bytes.';
