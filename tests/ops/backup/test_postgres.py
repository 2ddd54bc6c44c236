"""A backup of a database of PostgreSQL: a SQLite file, which is restored into PostgreSQL."""

import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import psycopg
import pytest

from orderapi.errors import StoreRefused
from orderapi.ops.restore import restore
from orderapi.settings import SqliteUrl
from orderapi.store import migrate
from orderapi.store.migrate import Migration
from orderapi.store.open import open_maintenance, open_store
from orderapi.store.postgres import start
from tests.support.backup_files import ORDERAPI, backed_up, with_orders
from tests.support.copies import copy_here, fill, findings, order_of, quiet, rows_of
from tests.support.engines import Engine, PostgresEngine, SqliteEngine
from tests.support.placing import place
from tests.support.promises import promise
from tests.support.running import environ_with
from tests.support.waiting import wait_until

ORDERS = 20
LOADED = "SELECT COUNT(*) FROM pg_tables WHERE schemaname = 'orderapi_restoring'"


@pytest.fixture
def postgres(tmp_path: Path) -> Iterator[PostgresEngine]:
    """A database of PostgreSQL with something in every table."""
    engine = PostgresEngine(tmp_path)
    fill(engine, ORDERS)
    yield engine
    engine.remove()


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """A place for a backup. It is where a SqliteEngine has its database."""
    directory = tmp_path / "backup"
    directory.mkdir()
    return directory / "orders.db"


def orderapi(*arguments: str | Path, engine: Engine) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [ORDERAPI, *map(str, arguments), "--database", engine.url_text],
        env=environ_with(),
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )


def backed_up_here(engine: Engine, file: Path) -> None:
    done = orderapi("backup", file, engine=engine)
    assert (done.returncode, done.stderr) == (0, ""), done


def schemas(engine: PostgresEngine) -> list[str]:
    names = engine.query("SELECT nspname FROM pg_namespace WHERE nspname LIKE 'orderapi%'")
    return [name for (name,) in names]


@promise("a key is never forgotten")
def test_a_backup_is_made_while_a_service_writes_and_has_every_row(
    postgres: PostgresEngine, file: Path
) -> None:
    with closing(open_store(postgres.url)) as store:
        assert not place(store, "before").replayed
        backed_up_here(postgres, file)
        backup = SqliteEngine(file.parent)
        assert rows_of(backup) == rows_of(postgres)
        assert not place(store, "after").replayed
    assert findings(backup.url) == []
    assert [found.name for found in file.parent.iterdir()] == [file.name]
    assert file.stat().st_mode & 0o777 == 0o600
    ((made_at, verified_at),) = postgres.query("SELECT made_at, verified_at FROM last_backup")
    assert made_at == verified_at
    assert made_at is not None


def test_no_service_starts_on_a_backup_of_another_engine(
    postgres: PostgresEngine, file: Path
) -> None:
    backed_up_here(postgres, file)
    with (
        closing(open_store(SqliteUrl(file))) as store,
        pytest.raises(StoreRefused, match="is a backup of a database of PostgreSQL"),
    ):
        store.prepare()


def test_a_restore_returns_to_the_backup_and_keeps_the_old_tables(
    postgres: PostgresEngine, file: Path
) -> None:
    before = rows_of(postgres)
    backed_up_here(postgres, file)
    with closing(open_store(postgres.url)) as store:
        later = place(store, "later")
    refused = orderapi("restore", file, engine=postgres)
    assert refused.returncode == 2
    assert "--force keeps them in another schema" in refused.stderr
    done = orderapi("restore", "--force", file, engine=postgres)
    assert done.returncode == 0, done.stderr
    assert "gone: 1 order, 1 idempotency key and 1 event that came later" in done.stdout
    assert rows_of(postgres) == before
    (kept,) = schemas(postgres)
    assert f"the old database is kept as the schema {kept}" in done.stdout
    kept_keys = f"SELECT order_id FROM {kept}.idempotency_keys WHERE idempotency_key = 'later'"
    assert postgres.query(kept_keys) == [(later.order_id,)]


def test_a_restored_database_is_served_and_protects_its_ledger(
    postgres: PostgresEngine, file: Path
) -> None:
    backed_up_here(postgres, file)
    assert orderapi("restore", "--force", file, engine=postgres).returncode == 0
    assert findings(postgres.url) == []
    (kept,) = schemas(postgres)
    postgres.execute(f"DROP SCHEMA {kept} CASCADE")
    with closing(open_store(postgres.url)) as store:
        store.prepare()
        assert not place(store, "new").replayed
        assert place(store, "new").replayed
        version = store.read(lambda tx: tx.tokens.version())
        store.write(lambda tx: tx.tokens.revoke(2))
        assert store.read(lambda tx: tx.tokens.version()) > version
    assert postgres.counts() == [ORDERS + 1] * 4
    with pytest.raises(psycopg.IntegrityError, match="cannot be updated"):
        postgres.execute("UPDATE ledger SET quantity = 1")


def test_a_backup_is_restored_into_an_empty_database(
    postgres: PostgresEngine, file: Path, tmp_path: Path
) -> None:
    backed_up_here(postgres, file)
    empty = PostgresEngine(tmp_path)
    done = orderapi("restore", file, engine=empty)
    assert done.returncode == 0, done.stderr
    assert rows_of(empty) == rows_of(postgres)
    assert schemas(empty) == []
    empty.remove()


def test_a_restore_replaces_an_unfinished_copy_only_with_force_and_a_service_then_starts(
    postgres: PostgresEngine, file: Path, tmp_path: Path
) -> None:
    backed_up_here(postgres, file)
    target = PostgresEngine(tmp_path)
    start.prepare(target.url, migrate.load("postgres"), copy_of="sqlite:///old.db")
    before = target.dump()
    refused = orderapi("restore", file, engine=target)
    assert refused.returncode == 2
    assert "unfinished copy of sqlite:///old.db" in refused.stderr
    assert "--force" in refused.stderr
    assert refused.stderr.count("\n") == 1
    assert target.dump() == before
    done = orderapi("restore", "--force", file, engine=target)
    assert done.returncode == 0, done.stderr
    with closing(open_store(target.url)) as store:
        store.prepare()
        assert not place(store, "new").replayed
    ((kept, source),) = target.query(
        f"SELECT '{schemas(target)[0]}', source FROM {schemas(target)[0]}.unfinished_copy"
    )
    assert f"the old database is kept as the schema {kept}" in done.stdout
    assert source == "sqlite:///old.db"
    target.remove()


@promise("a key is never forgotten")
def test_a_later_release_restores_and_copies_a_backup_of_an_older_schema(
    postgres: PostgresEngine, file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    backed_up_here(postgres, file)
    before = file.read_bytes()
    load = migrate.load

    def load_later(engine: str) -> list[Migration]:
        sql = "UPDATE tokens SET label = 'migrated';\nCREATE TABLE later (number integer);\n"
        known = load(engine)
        return [*known, Migration(known[-1].number + 1, known[-1].number, sql)]

    monkeypatch.setattr(migrate, "load", load_later)
    temporary = tmp_path / "temporary"
    temporary.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(temporary))
    other = SqliteEngine(tmp_path)
    # A start on the backup was refused before, and it has left this file.
    lock = file.with_name("orders.db-lock")
    lock.touch()
    with closing(open_maintenance(postgres.url)) as maintenance:
        restored = restore(maintenance, file, force=True, on_progress=quiet, on_finding=pytest.fail)
    lock.unlink()
    copied = copy_here(SqliteEngine(file.parent), other)
    assert restored is not None
    assert copied is not None
    assert copied.is_finished
    engines: tuple[Engine, ...] = (postgres, other)
    for engine in engines:
        assert engine.counts() == [ORDERS] * 4
        assert engine.query("SELECT DISTINCT label FROM tokens") == [("migrated",)]
        assert findings(engine.url) == []
        with closing(open_store(engine.url)) as store:
            store.prepare()
            claim, new_order = order_of(0)
            assert store.place(claim, new_order).replayed
    assert file.read_bytes() == before
    assert [*file.parent.iterdir(), *temporary.iterdir()] == [file]


def test_a_backup_of_another_engine_is_refused_with_the_right_command(
    postgres: PostgresEngine, file: Path, tmp_path: Path
) -> None:
    backed_up_here(postgres, file)
    sqlite = SqliteEngine(tmp_path)
    into_sqlite = orderapi("restore", file, engine=sqlite)
    assert into_sqlite.returncode == 2
    assert f"`orderapi copy sqlite:///{file} TARGET_URL`" in into_sqlite.stderr
    other = backed_up(with_orders(sqlite.path, "key"), tmp_path / "other.db")
    before = postgres.dump()
    into_postgres = orderapi("restore", "--force", other, engine=postgres)
    assert into_postgres.returncode == 2
    assert f"`orderapi copy sqlite:///{other} TARGET_URL`" in into_postgres.stderr
    assert postgres.dump() == before


def test_a_restore_is_refused_while_a_service_has_the_database_open(
    postgres: PostgresEngine, file: Path
) -> None:
    backed_up_here(postgres, file)
    before = postgres.dump()
    with closing(open_store(postgres.url)) as store:
        store.read(lambda tx: tx.events.last_sequence())
        refused = orderapi("restore", "--force", file, engine=postgres)
    assert refused.returncode == 2
    assert "a process has" in refused.stderr
    assert postgres.dump() == before


def test_a_backup_with_findings_is_not_put_in_place(postgres: PostgresEngine, file: Path) -> None:
    backed_up_here(postgres, file)
    SqliteEngine(file.parent).execute("UPDATE events SET event_id = 'spoilt' WHERE sequence = 3")
    for side_file in (file.with_name("orders.db-wal"), file.with_name("orders.db-shm")):
        side_file.unlink(missing_ok=True)
    before = postgres.dump()
    done = orderapi("restore", "--force", file, engine=postgres)
    assert done.returncode == 1
    assert "nothing was restored, and the database is as it was" in done.stdout
    assert postgres.dump() == before
    assert schemas(postgres) == []


def test_a_restore_that_is_killed_leaves_the_database_as_it_was(
    postgres: PostgresEngine, file: Path
) -> None:
    backed_up_here(postgres, file)
    before = postgres.dump()
    command = [ORDERAPI, "restore", "--force", str(file), "--database", postgres.url_text]
    with postgres.held():  # The lock prevents the move of the old tables.
        restoring = subprocess.Popen(command, env=environ_with(), stdout=subprocess.DEVNULL)
        wait_until(lambda: postgres.query(LOADED) != [(0,)], "a backup that is being loaded")
        restoring.kill()
        restoring.wait()
    assert postgres.dump() == before
    done = orderapi("restore", "--force", file, engine=postgres)
    assert done.returncode == 0, done.stderr
    assert findings(postgres.url) == []
