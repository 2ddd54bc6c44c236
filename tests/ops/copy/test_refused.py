"""A copy that could lose an order or make it twice is refused in one line, with exit code 2."""

from contextlib import closing
from pathlib import Path

import pytest

from orderapi.store.open import open_store
from tests.support.copies import copy_here, fill, findings, run_copy, run_copy_of
from tests.support.engines import Engine, PgBouncerEngine, PostgresEngine, SqliteEngine
from tests.support.placing import place
from tests.support.postgres import postgres_server
from tests.support.running import environ_with


def refusal(source: Engine, target: Engine) -> str:
    """Give the line with which a copy is refused."""
    done = run_copy(source, target)
    assert (done.returncode, done.stdout) == (2, ""), done
    assert done.stderr.startswith("Error: ")
    assert done.stderr.count("\n") == 1
    return done.stderr


@pytest.mark.parametrize("end", ["source", "target"])
@pytest.mark.parametrize("name", ["sqlite", "postgres"])
def test_a_copy_of_a_store_that_a_service_has_open_is_refused(
    sqlite: SqliteEngine, postgres: PostgresEngine, back: SqliteEngine, name: str, end: str
) -> None:
    opened: Engine = sqlite if name == "sqlite" else postgres
    if end == "target":
        source: Engine = sqlite
        opened = target = back if name == "sqlite" else postgres
    else:
        source, target = opened, back
    with closing(open_store(opened.url)) as store:
        store.prepare()
        store.read(lambda tx: tx.events.last_sequence())
        assert "a process has" in refusal(source, target)
        # The service on the empty target still works.
        if end == "target":
            assert not place(store, "key").replayed


@pytest.mark.parametrize("end", ["source", "target"])
def test_a_url_that_leads_through_pgbouncer(
    sqlite: SqliteEngine, pgbouncer: PgBouncerEngine, back: SqliteEngine, end: str
) -> None:
    """Through PgBouncer, a service that is idle would not be found."""
    ends: tuple[Engine, Engine] = (sqlite, pgbouncer) if end == "target" else (pgbouncer, back)
    with closing(open_store(pgbouncer.url)) as store:
        store.prepare()
        assert "leads through a pooler of connections such as PgBouncer" in refusal(*ends)
        # The service on this database still works.
        assert not place(store, "key").replayed


def test_a_copy_into_a_target_with_other_orders_is_refused(
    sqlite: SqliteEngine, postgres: PostgresEngine, back: SqliteEngine
) -> None:
    with closing(open_store(back.url)) as store:
        store.prepare()
        place(store, "key")
    before = back.dump()
    assert "is not empty, and it is not a copy of" in refusal(sqlite, back)
    assert back.dump() == before
    copy_here(back, postgres)
    before = postgres.dump()
    assert "is not empty, and it is not a copy of" in refusal(sqlite, postgres)
    assert postgres.dump() == before


def test_an_empty_source_and_a_target_that_has_orders(
    sqlite: SqliteEngine, postgres: PostgresEngine, back: SqliteEngine
) -> None:
    """A wrong URL of the source must not look like a copy that was finished before."""
    engines: tuple[Engine, ...] = (back, postgres)
    for empty in engines:
        with closing(open_store(empty.url)) as store:
            store.prepare()
        before = sqlite.dump()
        line = refusal(empty, sqlite)
        assert f"{empty.url} has no order and no token" in line
        assert "SOURCE_URL" in line
        assert sqlite.dump() == before


def test_a_copy_into_an_unfinished_copy_of_another_store_is_refused(
    sqlite: SqliteEngine, postgres: PostgresEngine, back: SqliteEngine
) -> None:
    fill(back, 1)
    back.execute("UPDATE events SET event_id = 'spoilt'")
    copied = copy_here(back, postgres)
    assert copied is not None
    assert not copied.is_sound
    assert "is an unfinished copy of another store" in refusal(sqlite, postgres)


def test_findings_in_the_source_leave_an_unfinished_copy(
    sqlite: SqliteEngine, postgres: PostgresEngine
) -> None:
    sqlite.execute(
        "UPDATE orders SET quantity = quantity + 1 WHERE order_id IN"
        " (SELECT order_id FROM events WHERE sequence = 2500)"
    )
    done = run_copy(sqlite, postgres)
    assert done.returncode == 1
    assert "the copy is not finished" in done.stdout
    assert set(done.stdout.splitlines()) > set(findings(sqlite.url)) != set()
    assert "unfinished copy" in refusal(postgres, sqlite)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("sqlite:///orders.db", "sqlite:///orders.db"), "are the same database"),
        (("mysql:///orders.db", "sqlite:///b.db"), "SOURCE_URL: expected sqlite:///"),
        (("sqlite:///a.db", "postgresql"), "TARGET_URL: expected sqlite:///"),
        (("sqlite:///a.db", "sqlite:///b.db"), "there is no database"),
        (("sqlite:///orders.db", "sqlite:///there/is/none.db"), "does not exist"),
        (("sqlite:///README.md", "sqlite:///b.db"), "file is not a database"),
        (("sqlite:///orders.db", "sqlite:///README.md"), "file is not a database"),
    ],
)
def test_unusable_urls_are_refused_in_one_line(
    sqlite: SqliteEngine, arguments: tuple[str, str], said: str
) -> None:
    directory = sqlite.path.parent
    (directory / "README.md").write_text("# No database\n" * 100)
    done = run_copy_of(*arguments, cwd=directory)
    assert done.returncode in (1, 2)
    assert said in done.stderr
    assert done.stderr.count("\n") == 1
    databases = {file.name for file in directory.iterdir() if file.suffix == ".db"}
    assert databases == {"orders.db"}


def test_a_password_is_taken_from_the_environment_or_from_a_file(
    sqlite: SqliteEngine, tmp_path: Path
) -> None:
    with postgres_server() as server:
        server.query("CREATE ROLE shop LOGIN PASSWORD 'secret'")
        server.query("CREATE DATABASE shop OWNER shop TEMPLATE template0")
        hba = server.data / "pg_hba.conf"
        hba.write_text("host all shop 127.0.0.1/32 scram-sha-256\n" + hba.read_text())
        server.query("SELECT pg_reload_conf()")
        url = server.url("shop", "shop")
        without = run_copy_of(sqlite.url_text, url)
        assert without.returncode == 2
        assert "no password supplied" in without.stderr
        given = run_copy_of(sqlite.url_text, url, env=environ_with() | {"PGPASSWORD": "secret"})
        assert given.returncode == 0, given.stderr
        file = tmp_path / "pgpass"
        file.write_text("*:*:*:shop:secret\n")
        file.chmod(0o600)
        again = run_copy_of(sqlite.url_text, url, env=environ_with() | {"PGPASSFILE": str(file)})
        assert "has everything of the source already" in again.stdout
