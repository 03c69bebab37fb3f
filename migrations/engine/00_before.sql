-- The functions and views of dueq are made anew, as a whole, whenever their text has changed: `dueq migrate` runs all files of
-- this folder in order, in one transaction, after the numbered migrations. So a file here says how things are, and is edited in
-- place; what tables need, once and for all, is in a numbered migration, which is never edited.
--
-- dueq.functions, set by the migrator, names the functions of this folder. Those, and all that begin with _, are dropped here, so
-- that a function may get another argument or result without a second version beside the first (a call would be ambiguous,
-- 42725). What is left standing, because something of the user's depends on it, is replaced in its place. Views are always
-- replaced in place, so they can only get columns at their end. Whoever had rights gets them back in 99_after.
--
-- Changes: functions of this schema. Locks: their rows in the catalog; whoever runs a dropped function finishes it.
-- Raises: XX000 "tuple concurrently updated" where rights were changed just then: try again.
do $$
declare
  v_schema regnamespace := current_schema()::regnamespace;
  v_names text[] := current_setting('dueq.functions')::text[];
  v_own oid[] := array(select p.oid from pg_proc p where p.pronamespace = v_schema and p.prokind = 'f' and (p.proname = any(v_names) or p.proname ~ '^_'));
  v_grants jsonb;
  f record;
begin
  -- Changes nothing, and waits for whoever is changing the rights: what is granted after the rights were noted would be lost.
  for f in select o.oid::regprocedure as signature, p.proowner::regrole as owner from unnest(v_own) o (oid) join pg_proc p on p.oid = o.oid loop
    execute format('grant execute on function %s to %s', f.signature, f.owner);
  end loop;

  -- "*" is for a role that may execute all functions of dueq, and so those to come.
  with held (function_oid, name, role, is_grantable) as (
    select p.oid, p.proname::text, a.grantee, a.is_grantable
      from pg_proc p cross join aclexplode(coalesce(p.proacl, acldefault('f', p.proowner))) a
     where p.pronamespace = v_schema and a.grantee <> p.proowner
  )
  select jsonb_agg(jsonb_build_object('name', g.name, 'role', g.role, 'is_grantable', g.is_grantable)) into v_grants
    from (
      select h.name, h.role, h.is_grantable from held h
       union
      select '*', h.role, false from held h
       where h.function_oid = any(v_own)
       group by h.role
      having count(distinct h.function_oid) = cardinality(v_own)
    ) g;
  perform set_config('dueq.grants', coalesce(v_grants, '[]')::text, true);

  for f in select o.oid::regprocedure as signature from unnest(v_own) o (oid) loop
    begin
      execute format('drop function %s', f.signature);
    exception when dependent_objects_still_exist then
      null;
    end;
  end loop;
end
$$;

