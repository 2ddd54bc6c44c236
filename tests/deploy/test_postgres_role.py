"""`deploy/postgres/role.sql`: the service does all its work under the role, and no more."""

import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from orderapi.settings import PostgresUrl
from orderapi.store import migrate
from orderapi.store.postgres import start
from tests.support.engines import PostgresEngine
from tests.support.postgres import SUPERUSER
from tests.support.programs import Program
from tests.support.running import REPOSITORY, Server, environ_with, serving

ROLE_SQL = REPOSITORY / "deploy" / "postgres" / "role.sql"
ORDERAPI = Path(sys.executable).parent / "orderapi"
OWNER = "orders_owner"
# The role may not change or delete the rows of an order, and only the owner may change tables.
REFUSED = (
    *(f"DELETE FROM {table}" for table in ("orders", "ledger", "idempotency_keys", "events")),
    *(f"TRUNCATE {table}" for table in ("orders", "ledger", "idempotency_keys", "events")),
    "UPDATE orders SET quantity = 2",
    "UPDATE ledger SET quantity = 2",
    "UPDATE idempotency_keys SET request_hash = ''",
    "UPDATE events SET payload = ''",
    "DELETE FROM tokens",
    "UPDATE tokens SET client_id = 'another'",
    "DROP TABLE ledger",
    "ALTER TABLE ledger DISABLE TRIGGER ledger_is_never_changed",
    "CREATE TABLE another (number integer)",
    "SET ROLE orders_owner",
)

UNUSUAL_RIGHTS = (
    "GRANT SELECT ON events TO PUBLIC",
    "GRANT SELECT (order_id), REFERENCES ON orders TO pg_monitor WITH GRANT OPTION",
    "REVOKE TRUNCATE ON ledger FROM orders_owner",
    "REVOKE EXECUTE ON ALL FUNCTIONS IN SCHEMA public FROM PUBLIC",
    "GRANT EXECUTE ON ALL FUNCTIONS IN SCHEMA public TO orderapi",
)
# Who owns a table, a column or a function, and who else has which right on it.
RIGHTS = """
SELECT name, owner, grantee::regrole::text, privilege_type, is_grantable FROM (
  SELECT relname, relowner, coalesce(relacl, acldefault('r', relowner)) FROM pg_class
  WHERE relnamespace = 'public'::regnamespace AND relkind = 'r'
  UNION ALL
  SELECT relname || '.' || attname, relowner, attacl
  FROM pg_class JOIN pg_attribute ON attrelid = pg_class.oid
  WHERE relnamespace = 'public'::regnamespace AND relkind = 'r'
  UNION ALL
  SELECT relname, relowner, NULL FROM pg_class
  WHERE relnamespace = 'public'::regnamespace AND relkind = 'S'
  UNION ALL
  SELECT proname, proowner, coalesce(proacl, acldefault('f', proowner)) FROM pg_proc
  WHERE pronamespace = 'public'::regnamespace
) AS objects (name, owner, acl) LEFT JOIN aclexplode(acl) ON true ORDER BY 1, 3, 4, 5
"""


class RoleEngine(PostgresEngine):
    """A database that one role owns, and another one uses."""

    def __init__(self, directory: Path) -> None:
        super().__init__(directory)
        for role in (OWNER, "orderapi"):
            if not self.server.query("SELECT 1 FROM pg_roles WHERE rolname = %s", [role]):
                self.server.query(f"CREATE ROLE {role} LOGIN")
        self.server.query(f"ALTER DATABASE {self.database} OWNER TO {OWNER}")
        self.owner_url = self.server.url(self.database, OWNER)
        self.url_text = self.server.url(self.database, "orderapi")


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[RoleEngine]:
    engine = RoleEngine(tmp_path)
    yield engine
    engine.remove()


@pytest.fixture
def served(engine: RoleEngine, program: Program) -> Iterator[Server]:
    """A service under the role, on tables that the owner has made as the page says."""
    orderapi("migrate", "--database", engine.owner_url)
    for _ in range(2):  # The second run changes nothing.
        grant(program, engine)
    with serving(engine.directory, engine, AUTH="required") as server:
        yield server


def grant(program: Program, engine: RoleEngine) -> None:
    psql = program("psql", "postgresql-client")
    command = [psql, "--set", "ON_ERROR_STOP=1", "--file", str(ROLE_SQL), engine.owner_url]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def orderapi(*arguments: str, **settings: str) -> str:
    done = run(*arguments, **settings)
    assert done.returncode == 0, f"{arguments}: {done.stdout}{done.stderr}"
    return done.stdout


def run(*arguments: str, **settings: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [ORDERAPI, *arguments],
        env=environ_with(**settings),
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )


def test_the_service_and_its_commands_work_under_the_role(
    served: Server, engine: RoleEngine
) -> None:
    database = {"DATABASE_URL": engine.url_text}
    token = re.findall(r"oapi_\w+", orderapi("token", "create", "shop", **database))[0]
    bearer = f"Bearer {token}"
    made = served.order("key", Authorization=bearer)
    assert made.status == 201
    replay = served.order("key", Authorization=bearer)
    assert (replay.status, replay.body) == (201, made.body)
    other = {"customer_id": "cust1", "item_id": "item1", "quantity": 2}
    assert served.order("key", other, Authorization=bearer).status == 409
    access = {"Authorization": bearer}
    for path in ("/orders", "/events", made.headers["location"], "/readyz", "/metrics"):
        assert served.request("GET", path, headers=access).status == 200, path
    assert "ok" in orderapi("verify", served.url, "--database", engine.url_text, TOKEN=token)
    orderapi("audit", **database)
    assert engine.query("SELECT findings FROM last_audit") == [(0,)]
    token_id = str(engine.query("SELECT token_id FROM tokens")[0][0])
    assert "shop" in orderapi("token", "list", **database)
    orderapi("token", "revoke", token_id, **database)


def test_the_role_may_not_change_what_an_order_leaves_behind(
    engine: RoleEngine, program: Program
) -> None:
    orderapi("migrate", "--database", engine.owner_url)
    grant(program, engine)
    with psycopg.connect(engine.url_text, autocommit=True) as connection:
        for statement in REFUSED:
            with pytest.raises(psycopg.errors.InsufficientPrivilege):
                connection.execute(statement.encode())


@pytest.mark.parametrize("restored_by", [OWNER, SUPERUSER])
def test_the_service_has_its_rights_after_a_restore(
    served: Server, engine: RoleEngine, restored_by: str
) -> None:
    token = re.findall(
        r"oapi_\w+", orderapi("token", "create", "shop", DATABASE_URL=engine.url_text)
    )[0]
    old = served.order("old", Authorization=f"Bearer {token}")
    assert served.stop() == 0
    for statement in UNUSUAL_RIGHTS:
        engine.execute(statement)
    before = engine.query(RIGHTS)
    file = engine.directory / "backup.db"
    orderapi("backup", str(file), "--database", engine.owner_url)
    url = engine.server.url(engine.database, restored_by)
    orderapi("restore", "--force", str(file), "--database", url)
    assert engine.query(RIGHTS) == before
    with serving(engine.directory, engine, AUTH="required") as server:
        assert server.order("old", Authorization=f"Bearer {token}").body == old.body
        assert server.order("new", Authorization=f"Bearer {token}").status == 201


def test_a_command_that_needs_the_owner_is_refused_in_one_line_that_says_so(
    engine: RoleEngine, program: Program
) -> None:
    orderapi("migrate", "--database", engine.owner_url)
    grant(program, engine)
    file, other = engine.directory / "backup.db", f"sqlite:///{engine.directory}/other.db"
    orderapi("backup", str(file), "--database", engine.url_text)
    orderapi("migrate", "--database", other)
    for arguments in (
        ("copy", engine.url_text, other),
        ("copy", other, engine.url_text),
        ("restore", "--force", str(file), "--database", engine.url_text),
    ):
        done = run(*arguments)
        assert (done.returncode, done.stdout) == (2, ""), done
        assert "permission denied" in done.stderr
        assert "run this command as the role that owns the tables" in done.stderr
        assert "again" not in done.stderr
        assert done.stderr.count("\n") == 1


def test_a_start_under_the_role_on_an_unfinished_copy_says_what_it_is(
    engine: RoleEngine, program: Program
) -> None:
    orderapi("migrate", "--database", engine.owner_url)
    grant(program, engine)
    start.prepare(
        PostgresUrl(engine.owner_url), migrate.load("postgres"), copy_of="sqlite:///orders.db"
    )
    done = run("migrate", "--database", engine.url_text)
    assert done.returncode != 0
    assert "is an unfinished copy of another database: run `orderapi copy` again" in done.stderr


def test_a_start_under_the_role_before_the_owner_has_migrated_says_what_is_wrong(
    engine: RoleEngine,
) -> None:
    engine.execute("REVOKE CREATE ON SCHEMA public FROM PUBLIC")
    server = Server(engine.directory, engine)
    server.start(wait=False)
    assert server.process is not None
    assert server.process.wait(60) != 0
    message = server.log_lines()[-1]["message"]
    assert "permission denied" in message
    assert "the owner of the database runs `orderapi migrate` and role.sql before this" in message
