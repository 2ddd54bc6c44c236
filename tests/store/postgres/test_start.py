"""A start makes the tables in a database of PostgreSQL, or refuses it in one line."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import pytest

from orderapi.errors import StoreRefused, StoreUnavailable
from orderapi.settings import PostgresUrl
from orderapi.store import migrate
from orderapi.store.migrate import Migration
from orderapi.store.open import open_store
from orderapi.store.postgres import start
from orderapi.store.postgres.store import PostgresStore
from tests.support.engines import PostgresEngine
from tests.support.placing import place
from tests.support.ports import free_port
from tests.support.postgres import PostgresServer, postgres_server
from tests.support.running import Server

NEWEST = migrate.load("postgres")[-1].number


def refusal(url: str) -> str:
    """Prepare a database, and give the line with which it is refused."""
    with pytest.raises(StoreRefused) as refused:
        PostgresStore(PostgresUrl(url)).prepare()
    line = str(refused.value)
    assert "\n" not in line
    return line


@contextmanager
def role(engine: PostgresEngine, *settings: str) -> Iterator[str]:
    """Give the URL of an empty database for a superuser with settings of its own."""
    name = f"role_{engine.database}"
    engine.execute(f"CREATE ROLE {name} SUPERUSER LOGIN")
    for setting in settings:
        engine.execute(f"ALTER ROLE {name} SET {setting}")
    yield engine.server.url(engine.database, name)
    engine.execute(f"DROP ROLE {name}")


def test_the_schema_number_is_that_of_sqlite() -> None:
    """The tables of both engines are the same, and `orderapi copy` compares one number."""
    assert migrate.load("sqlite")[-1].number == NEWEST


def test_many_processes_may_prepare_an_empty_database_at_once(engine: PostgresEngine) -> None:
    stores = [PostgresStore(engine.url) for _ in range(8)]
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(PostgresStore.prepare, stores))
    assert engine.query("SELECT COUNT(*) FROM schema_migrations") == [(1,)]
    assert not place(stores[0], "key").replayed
    for store in stores:
        store.close()


def test_a_newer_schema_that_this_release_does_not_know_is_refused(
    store: PostgresStore, engine: PostgresEngine
) -> None:
    engine.execute(f"INSERT INTO schema_migrations VALUES ({NEWEST + 1}, {NEWEST + 1})")
    assert f"schema {NEWEST + 1}" in refusal(engine.url_text)
    with pytest.raises(StoreUnavailable):
        place(store, "key")


@pytest.mark.usefixtures("store")
def test_a_newer_schema_on_which_this_release_works_is_served(engine: PostgresEngine) -> None:
    engine.execute(f"INSERT INTO schema_migrations VALUES ({NEWEST + 1}, {NEWEST})")
    PostgresStore(engine.url).prepare()


@pytest.mark.usefixtures("store")
def test_a_migration_may_take_longer_than_the_rest_of_a_start(
    engine: PostgresEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(start, "ANSWER_MAX_S", 2.0)
    long = Migration(NEWEST + 1, NEWEST, "SELECT pg_sleep(2.5); CREATE TABLE later (a integer)")
    engine.execute(f"ALTER DATABASE {engine.database} SET statement_timeout = '1s'")
    start.prepare(engine.url, [*migrate.load("postgres"), long])
    assert engine.query("SELECT MAX(number) FROM schema_migrations") == [(NEWEST + 1,)]
    assert engine.query("SELECT COUNT(*) FROM later") == [(0,)]


def test_a_start_waits_a_limited_time_for_another_process_that_migrates(
    engine: PostgresEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(start, "LOCK_MAX_S", 0.5)
    engine.execute(f"SELECT pg_advisory_lock({start.MIGRATION_LOCK})")
    assert "another process migrates the database" in refusal(engine.url_text)
    engine.execute(f"SELECT pg_advisory_unlock({start.MIGRATION_LOCK})")
    PostgresStore(engine.url).prepare()


def test_a_database_of_another_program_is_refused_and_left_as_it_is(
    engine: PostgresEngine,
) -> None:
    engine.execute("CREATE TABLE orders (number integer)")
    before = engine.dump()
    assert "'orders'" in refusal(engine.url_text)
    assert engine.dump() == before


def test_a_wrong_encoding_is_refused(engine: PostgresEngine) -> None:
    name = f"latin_{engine.database}"
    engine.execute(f"CREATE DATABASE {name} TEMPLATE template0 ENCODING 'LATIN1' LC_COLLATE 'C'")
    assert "ENCODING 'UTF8'" in refusal(engine.server.url(name))
    engine.execute(f"DROP DATABASE {name}")


@pytest.mark.parametrize(
    ("setting", "named"),
    [
        ("synchronous_commit = off", "synchronous_commit"),
        ("default_transaction_isolation = 'serializable'", "default_transaction_isolation"),
        ("default_transaction_read_only = on", "default_transaction_read_only"),
        # A function of this name comes before that of PostgreSQL.
        ("search_path = imitation, pg_catalog, public", "PostgreSQL 14 or newer is needed"),
    ],
)
def test_a_role_whose_settings_would_break_a_promise_is_refused(
    engine: PostgresEngine, setting: str, named: str
) -> None:
    engine.execute("CREATE SCHEMA imitation")
    engine.execute(
        "CREATE FUNCTION imitation.version() RETURNS text LANGUAGE sql"
        " AS $$ SELECT 'PostgreSQL 15.2-YB-2.25.1.0-b0 on x86_64' $$"
    )
    with role(engine, setting) as url:
        assert named in refusal(url)


@pytest.mark.parametrize("setting", ["fsync", "full_page_writes"])
def test_a_server_that_may_lose_a_commit_is_refused(setting: str) -> None:
    with postgres_server(**{setting: "off"}) as server:
        assert f"{setting} = on" in refusal(server.url())


@pytest.mark.parametrize("url", ["nobody@127.0.0.1:{port}/{name}", "postgres@127.0.0.1:{port}/no"])
def test_a_server_that_refuses_the_user_stops_the_start_at_once(
    engine: PostgresEngine, url: str
) -> None:
    given = "postgresql://" + url.format(port=engine.server.port, name=engine.database)
    assert "does not exist" in refusal(given)


def test_a_server_that_is_not_there_is_tried_again_for_a_limited_time(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(start, "REACH_MAX_S", 1.0)
    line = refusal(f"postgresql://app:secret@127.0.0.1:{free_port()}/orders")
    assert "cannot reach postgresql://app@127.0.0.1" in line
    assert "secret" not in line


def test_a_start_waits_for_a_server_that_starts(engine: PostgresEngine) -> None:
    server = PostgresServer(engine.directory)
    with ThreadPoolExecutor(1) as pool:
        prepared = pool.submit(PostgresStore(PostgresUrl(server.url())).prepare)
        with postgres_server_at(server):
            prepared.result(60)
            assert server.query("SELECT COUNT(*) FROM schema_migrations") == [(1,)]


@contextmanager
def postgres_server_at(server: PostgresServer) -> Iterator[None]:
    """Run a server that has had only a port so far."""
    with postgres_server() as other:
        other.stop()
        other.port = server.port
        other.start()
        yield


@pytest.mark.parametrize("text", ["postgresql://a%zz@h/d", "postgresql://a:b@h/d?no_such=1"])
def test_a_url_that_libpq_cannot_read_is_refused_without_its_password(text: str) -> None:
    assert "libpq cannot read this URL" in refusal(text)


def test_a_service_that_cannot_start_says_why_in_one_line(tmp_path: Path) -> None:
    server = Server(tmp_path, DATABASE_URL="postgresql://a:secret@127.0.0.1:1/d?no_such=1")
    server.start(wait=False)
    assert server.process is not None
    assert server.process.wait(60) != 0
    *_, last = server.log_lines()
    assert "ORDERAPI_DATABASE_URL: libpq cannot read this URL" in last["message"]
    assert "secret" not in server.log_path.read_text()


def test_a_store_that_is_only_opened_does_not_connect() -> None:
    open_store(PostgresUrl("postgresql://127.0.0.1:1/nothing")).close()
