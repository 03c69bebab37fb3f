// Who may do what: every function, view and table of the schema, and the roles that may use it. `dueq roles` grants what stands
// here, and errors name the role that is missing. What is not listed is for the owner alone; a test finds what was forgotten.
//
// Invariant: what a producer or a viewer may use shows no payload, nor what may hold a part of one: headers, errors, reasons, keys.

/** The roles, by their short names. */
export const roleNames = ['producer', 'consumer', 'operator', 'viewer'] as const
export type RoleName = (typeof roleNames)[number]

/** Which roles may call a function. */
export const functionPrivileges: Readonly<Record<string, readonly RoleName[]>> = {
  schema_version: ['producer', 'consumer', 'operator', 'viewer'],
  clock: ['producer', 'consumer', 'operator', 'viewer'],

  enqueue: ['producer'],
  enqueue_many: ['producer'],
  _enqueue_many_plain: ['producer'],
  wake: ['producer'],

  poll: ['consumer'],
  dequeue: ['consumer'],
  ack: ['consumer'],
  ack_many: ['consumer'],
  nack: ['consumer'],
  nack_many: ['consumer'],
  release: ['consumer'],
  release_many: ['consumer'],
  extend: ['consumer'],
  extend_many: ['consumer'],
  dead_letter: ['consumer'],

  create_queue: ['operator'],
  drop_queue: ['operator'],
  pause_queue: ['operator'],
  resume_queue: ['operator'],
  cancel: ['operator'],
  reschedule: ['operator'],
  redrive: ['operator'],
  purge: ['operator'],
  purge_dead: ['operator'],
  next_ready_at: ['operator', 'viewer'],

  // The doctor runs with the rights of its caller, and so do its parts.
  doctor: ['operator', 'viewer'],
  _finding: ['operator', 'viewer'],
  _sees_sessions: ['operator', 'viewer'],
  _session_text: ['operator', 'viewer'],
  _check_server: ['operator', 'viewer'],
  _check_sessions: ['operator', 'viewer'],
  _check_tables: ['operator', 'viewer'],
  _check_queues: ['operator', 'viewer'],
  _check_rights: ['operator', 'viewer'],
  _table_locks_text: ['operator', 'viewer'],
  _front: ['operator', 'viewer'],
  _look_limit: ['operator', 'viewer'],
  _look_took: ['operator', 'viewer'],
  _refused_until: ['operator', 'viewer'],
}

/** What a role may read of a view or table: all of it, or some columns. */
export type Reading = 'all' | readonly string[]

/** Which roles may read a view or table, and what of it. */
export const viewPrivileges: Readonly<Record<string, Partial<Readonly<Record<RoleName, Reading>>>>> = {
  queue_settings: { producer: 'all', consumer: 'all', operator: 'all', viewer: 'all' },
  queue_stats: { operator: 'all', viewer: 'all' },
  message_states: {
    operator: 'all',
    viewer: columns('id queue state priority due_at ready_at enqueued_at attempt failures lapses leased_by'),
  },
  dead_messages: {
    operator: 'all',
    viewer: columns('id queue died_at attempt failures lapses priority due_at enqueued_at'),
  },

  // What the doctor looks at.
  queues: { operator: 'all', viewer: 'all' },
  messages: {
    operator: columns('id queue_id priority ready_at leased_by lapses'),
    viewer: columns('id queue_id priority ready_at leased_by lapses'),
  },
  dead_letters: { operator: columns('id queue_id'), viewer: columns('id queue_id') },
  role_grants: { operator: 'all', viewer: 'all' },
}

/** The roles that may use a function, view or table as a whole; undefined where there is no such thing. */
export function rolesFor(object: string): readonly RoleName[] | undefined {
  if (Object.hasOwn(functionPrivileges, object)) return functionPrivileges[object]
  if (!Object.hasOwn(viewPrivileges, object)) return undefined
  return roleNames.filter((role) => viewPrivileges[object]?.[role] === 'all')
}

// --- internal ---

function columns(names: string): readonly string[] {
  return names.split(' ')
}
