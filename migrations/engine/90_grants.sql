-- Nobody but the owner may execute these functions until the owner grants it. PostgreSQL grants execute to everyone by
-- default, and the name of the schema is known only here, hence the dynamic statement.
do $$
begin
  execute format('revoke execute on all functions in schema %I from public', current_schema());
end
$$;
