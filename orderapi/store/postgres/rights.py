"""Give the tables and functions of one schema the owners and the rights of those of another one."""

from orderapi.store.postgres.connection import Connection

# Each table and function of two schemas that both of them have, with the rights of others on it. If
# no right was ever given, the server has NULL in the place of the default rights.
_PAIRS = """\
WITH objects AS (
  SELECT c.relnamespace AS schema, 'TABLE' AS kind, quote_ident(c.relname) AS name, c.oid AS id,
    c.relowner AS owner, coalesce(c.relacl, acldefault('r', c.relowner)) AS acl
  FROM pg_class AS c WHERE c.relkind = 'r'
  UNION ALL
  SELECT p.pronamespace, 'FUNCTION',
    format('%I(%s)', p.proname, pg_get_function_identity_arguments(p.oid)), p.oid,
    p.proowner, coalesce(p.proacl, acldefault('f', p.proowner))
  FROM pg_proc AS p
), pairs AS (
  SELECT format('%s %I.%s', old.kind, m.nspname, old.name) AS object, old.id AS old_id,
    old.owner AS old_owner, new.owner AS new_owner, old.acl AS old_acl, new.acl AS new_acl
  FROM objects AS old JOIN objects AS new ON new.kind = old.kind AND new.name = old.name
  JOIN pg_namespace AS n ON n.oid = old.schema JOIN pg_namespace AS m ON m.oid = new.schema
  WHERE n.nspname = ? AND m.nspname = ?
)
"""
_GRANTEE = "CASE a.grantee WHEN 0 THEN 'PUBLIC' ELSE quote_ident(pg_get_userbyid(a.grantee)) END"
_GRANT = f"""\
SELECT format('GRANT %s ON %s TO %s', string_agg(right_, ', '), object, grantee)
  || CASE WHEN is_grantable THEN ' WITH GRANT OPTION' ELSE '' END
FROM (
  SELECT object, {_GRANTEE} AS grantee, a.privilege_type AS right_, a.is_grantable
  FROM pairs CROSS JOIN aclexplode(old_acl) AS a
  UNION ALL
  SELECT object, {_GRANTEE}, format('%s (%I)', a.privilege_type, c.attname), a.is_grantable
  FROM pairs JOIN pg_attribute AS c ON c.attrelid = old_id AND NOT c.attisdropped
  CROSS JOIN aclexplode(c.attacl) AS a
) AS given GROUP BY object, grantee, is_grantable
"""  # noqa: S608 - constants of ours
_REVOKE = f"""\
SELECT DISTINCT format('REVOKE ALL ON %s FROM %s', object, {_GRANTEE})
FROM pairs CROSS JOIN aclexplode(new_acl) AS a
"""  # noqa: S608 - constants of ours
_CHANGE_OWNER = """\
SELECT format('ALTER %s OWNER TO %I', object, pg_get_userbyid(old_owner))
FROM pairs WHERE old_owner <> new_owner
"""


def give_rights(connection: Connection, old: str, new: str) -> None:
    """Give each role the rights in the schema `new` that it has in the schema `old`.

    The current role must own what there is in `new`. A table or a function that `old` does not have
    keeps its rights. Raises psycopg.Error if the server refuses it.
    """
    # All rights that the server gives to new tables by default are replaced, too.
    _run_all(connection, _PAIRS + _REVOKE, old, new)
    _run_all(connection, _PAIRS + _GRANT, old, new)


def give_owners(connection: Connection, old: str, new: str) -> None:
    """Let everything in the schema `new` belong to the roles that own the same in `old`.

    The current role must be a member of these roles, or a superuser. Raises psycopg.Error if the
    server refuses it.
    """
    _run_all(connection, _PAIRS + _CHANGE_OWNER, old, new)


def _run_all(connection: Connection, sql: str, old: str, new: str) -> None:
    for (statement,) in connection.rows(sql, (old, new)):
        connection.execute(str(statement).encode())
