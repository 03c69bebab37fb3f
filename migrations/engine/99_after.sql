-- The end of making functions anew: gives back the rights that 00_before noted, by name, for the rights are gone with the function.
-- A role that could execute all functions of dueq can execute all of them again, new ones included.
--
-- Raises: 2BP01 where a function has other arguments now and something of the user's depends on the old one. (Where it has a
-- comment, that fails before, with 42725.)
do $$
declare
  v_names text[] := current_setting('dueq.functions')::text[];
  v_schema regnamespace := current_schema()::regnamespace;
  v_twice text;
  g record;
begin
  select string_agg(distinct p.proname, ', ') into v_twice
    from pg_proc p join pg_proc other using (pronamespace, proname)
   where p.pronamespace = v_schema and p.proname = any(v_names) and p.oid <> other.oid;
  if v_twice is not null then
    raise exception using errcode = '2BP01',
      message = format('functions are there in two forms: %s', v_twice);
  end if;

  for g in
    select string_agg(distinct p.oid::regprocedure::text, ', ') as functions,
           case s.role when 0 then 'public' else quote_ident(r.rolname) end as role,
           case when s.is_grantable then ' with grant option' end as grant_option
      from jsonb_to_recordset(current_setting('dueq.grants')::jsonb) s (name text, role oid, is_grantable boolean)
      join pg_proc p on p.pronamespace = v_schema and p.prokind = 'f' and (p.proname = s.name or s.name = '*' and (p.proname = any(v_names) or p.proname ~ '^_'))
      left join pg_roles r on r.oid = s.role
     where s.role = 0 or r.oid is not null
     group by 2, 3
  loop
    execute format('grant execute on function %s to %s%s', g.functions, g.role, g.grant_option);
  end loop;
end
$$;
