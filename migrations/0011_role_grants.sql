-- What the roles of `dueq roles` may do, as data: grants can then be compared with it, and made anew.

create table role_grants (
  grantee   text   not null,
  privilege text   not null,
  object    text   not null,
  columns   text[],
  constraint role_grants_pkey primary key (grantee, object),
  constraint role_grants_privilege_check check (privilege in ('execute', 'select')),
  constraint role_grants_columns_check check (columns is null or privilege = 'select' and cardinality(columns) > 0)
);

comment on table role_grants is 'What the roles of dueq may do here, written by `dueq roles`. Empty where there are none. Change it there: restore_grants makes it so.';
comment on column role_grants.grantee is 'Name of the role.';
comment on column role_grants.privilege is 'execute for a function, select for a table or view.';
comment on column role_grants.object is 'Name of the function, table or view of this schema.';
comment on column role_grants.columns is 'The columns that may be read; null: all of them.';
