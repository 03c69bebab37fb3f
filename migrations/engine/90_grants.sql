-- Who may do what. Nobody but the owner may execute a function or read a table until it is granted. What a caller does to
-- messages and queues runs with the rights of the owner (security definer), so that no caller needs a right on a table: who
-- has one reads payloads, or writes past the fence and the limits. Only `doctor` runs with those of its caller: what it may
-- see of other sessions is up to that role.

-- restore_grants: makes the rights of the roles what role_grants says: takes away what is not there, and grants what is. A
-- role or an object that does not exist (any more) is passed over.
-- Its statements are dynamic, because the names of roles are data; each is an identifier of the catalog, quoted.
-- Changes: the rights of the roles in this schema. Locks: rows of the catalog, none of messages.
-- Returns: how many grants were made. Raises: 42501 for anybody but the owner.
create function restore_grants() returns integer
language plpgsql volatile
set search_path from current
as $$
declare
  v_count integer := 0;
  v_schema text := quote_ident(current_schema());
  g record;
begin
  for g in
    select r.rolname as role from pg_roles r where exists (select from role_grants n where n.grantee = r.rolname) order by r.rolname
  loop
    execute format('revoke all on all functions in schema %s from %I', v_schema, g.role);
    execute format('revoke all on all tables in schema %s from %I', v_schema, g.role);
    execute format('revoke all on all sequences in schema %s from %I', v_schema, g.role);
    execute format('revoke all on schema %s from %I', v_schema, g.role);
    execute format('grant usage on schema %s to %I', v_schema, g.role);
  end loop;
  for g in
    select r.rolname as role,
           case when n.privilege = 'execute' then format('execute on function %s', p.oid::regprocedure)
                else format('select%s on table %s', ' (' || (select string_agg(quote_ident(c), ', ') from unnest(n.columns) c) || ')', t.oid::regclass)
           end as what
      from role_grants n
      join pg_roles r on r.rolname = n.grantee
      left join pg_proc p on n.privilege = 'execute' and p.proname = n.object and p.pronamespace = current_schema()::regnamespace
      left join pg_class t on n.privilege = 'select' and t.relname = n.object and t.relnamespace = current_schema()::regnamespace
     where coalesce(p.oid, t.oid) is not null
     order by 1, 2
  loop
    execute format('grant %s to %I', g.what, g.role);
    v_count := v_count + 1;
  end loop;
  return v_count;
end
$$;

comment on function restore_grants is 'Makes the rights of the roles what the table role_grants says. For migrations; `dueq roles` calls it too.';

-- _check_rights: whether the roles may do what `dueq roles` granted, and nobody else more.
create function _check_rights() returns table ("check" text, ok boolean, detail text, advice text)
language plpgsql volatile
set lock_timeout = '1s'
as $$
#variable_conflict use_column
declare
  v_schema regnamespace := current_schema()::regnamespace;
  v_owner oid := (select c.relowner from pg_class c where c.oid = 'messages'::regclass);
  v_public text;
  v_foreign text;
  v_lost text;
  v_more text;
begin
  select string_agg(o.name, ', ' order by o.name) into v_public
    from (
      select p.proname::text as name from pg_proc p
       where p.pronamespace = v_schema
         and (p.proacl is null or exists (select from aclexplode(p.proacl) a where a.grantee = 0))
       union all
      select c.relname from pg_class c
       where c.relnamespace = v_schema and c.relkind in ('r', 'v', 'S')
         and exists (select from aclexplode(c.relacl) a where a.grantee = 0)
    ) o;

  -- Whoever may create here, or owns a part, decides what runs with the rights of the owner.
  select nullif(concat_ws('; ',
           (select format('schema %s is owned by %s', n.nspname, n.nspowner::regrole) from pg_namespace n
             where n.oid = v_schema and n.nspowner <> v_owner and not (select o.rolsuper from pg_roles o where o.oid = n.nspowner)
               and ((select o.rolsuper from pg_roles o where o.oid = v_owner) or not pg_has_role(v_owner, n.nspowner, 'usage'))),
           (select string_agg(format('%s may create in schema %s', case when a.grantee = 0 then 'everybody' else a.grantee::regrole::text end, n.nspname), ', ' order by a.grantee)
              from pg_namespace n cross join aclexplode(n.nspacl) a
             where n.oid = v_schema and a.privilege_type = 'CREATE' and a.grantee not in (n.nspowner, v_owner)),
           (select format('%s are not owned by %s, who owns messages', string_agg(p.proname, ', ' order by p.proname), v_owner::regrole)
              from pg_proc p where p.pronamespace = v_schema and p.proowner <> v_owner having count(*) > 0)), '') into v_foreign;

  select string_agg(distinct format('%s cannot use %s', g.grantee, g.object), ', ') into v_lost
    from role_grants g
    left join pg_roles r on r.rolname = g.grantee
    left join pg_proc p on g.privilege = 'execute' and p.proname = g.object and p.pronamespace = v_schema
    left join pg_class c on g.privilege = 'select' and c.relname = g.object and c.relnamespace = v_schema
    left join pg_attribute a on a.attrelid = c.oid and a.attnum > 0 and not a.attisdropped and (g.columns is null or a.attname = any(g.columns))
   where r.oid is null or coalesce(p.oid, c.oid) is null
      or not case when p.oid is not null then has_function_privilege(r.oid, p.oid, 'execute')
                  else has_column_privilege(r.oid, c.oid, a.attnum, 'select') end
      or not has_schema_privilege(r.oid, v_schema::oid, 'usage');

  with held (role, object, attribute, privilege) as (
    select a.grantee, p.proname::text, null::text, a.privilege_type
      from pg_proc p cross join aclexplode(p.proacl) a where p.pronamespace = v_schema
     union all
    select a.grantee, c.relname, null, a.privilege_type
      from pg_class c cross join aclexplode(c.relacl) a where c.relnamespace = v_schema
     union all
    select a.grantee, c.relname, t.attname, a.privilege_type
      from pg_class c join pg_attribute t on t.attrelid = c.oid cross join aclexplode(t.attacl) a where c.relnamespace = v_schema
  )
  select string_agg(distinct format('%s may %s %s', r.rolname, lower(h.privilege), concat_ws('.', h.object, h.attribute)), ', ') into v_more
    from held h
    join pg_roles r on r.oid = h.role
   where exists (select from role_grants g where g.grantee = r.rolname)
     and not exists (select from role_grants g
                      where g.grantee = r.rolname and g.object = h.object and g.privilege = lower(h.privilege)
                        and (g.columns is null or h.attribute = any(g.columns)));

  return query select f."check", f.ok, f.detail, f.advice
    from _finding('rights',
    nullif(concat_ws('; ', 'everybody may use ' || v_public, v_foreign, v_lost, v_more), ''),
    coalesce((select format('%s may do what `dueq roles` granted, and nothing else', string_agg(distinct g.grantee, ', ')) from role_grants g having count(*) > 0),
             'nobody but the owner and those who were granted it may execute a function; `dueq roles` makes roles'),
    concat_ws(' ',
      case when v_public is not null
           then format('Functions of dueq act with the rights of %s: revoke what everybody has (revoke all on all functions in schema %2$s from public; the same for tables).', v_owner::regrole, v_schema) end,
      case when v_foreign is not null
           then 'Give the schema and all that is in it to one owner, and let nobody else create there: what is found there runs with the rights of that owner.' end,
      case when v_lost is not null or v_more is not null then 'Run `dueq roles` again: it makes the rights what they should be.' end)) f;
end
$$;

-- PostgreSQL grants execute to everyone by default, and the name of the schema is known only here, hence the dynamic statement.
do $$
begin
  execute format('revoke execute on all functions in schema %I from public', current_schema());
end
$$;
