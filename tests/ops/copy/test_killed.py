"""A killed copy is continued by the next one, and no service starts on an unfinished copy."""

from collections.abc import Iterator
from contextlib import closing, contextmanager

import psycopg
import pytest

from orderapi.errors import StoreRefused, StoreUnavailable
from orderapi.store.copying import BATCH_ROWS
from orderapi.store.open import open_store
from orderapi.store.sqlite.file_names import size_of
from tests.support.copies import ORDERS, begin_copy, copy_here, findings, rows_of, run_copy
from tests.support.engines import Engine, PostgresEngine, SqliteEngine
from tests.support.promises import promise
from tests.support.waiting import wait_until

# The row of the ledger at which a copy is killed: in the second batch of the second table.
STUCK_AT = BATCH_ROWS + 500
# The orders alone need more than this in the WAL.
WAL_OF_ORDERS_BYTES = 100_000


@pytest.fixture(params=["into postgres", "into sqlite"])
def ends(
    request: pytest.FixtureRequest,
    sqlite: SqliteEngine,
    postgres: PostgresEngine,
    back: SqliteEngine,
) -> tuple[Engine, Engine]:
    """A source with data, and an empty target, whose tables are made."""
    source: Engine = sqlite
    target: Engine = postgres
    if request.param == "into sqlite":
        copy_here(sqlite, postgres)
        source, target = postgres, back
    with closing(open_store(target.url)) as store:
        store.prepare()
    return source, target


@contextmanager
def stuck_in_the_ledger(target: Engine) -> Iterator[None]:
    """Block the insertion of one row of the ledger in the target until the block ends."""
    if isinstance(target, PostgresEngine):
        waiting = "PERFORM pg_advisory_xact_lock(7)"
        target.before("INSERT", "ledger", f"IF NEW.ledger_id = {STUCK_AT} THEN {waiting}; END IF")
        with psycopg.connect(target.url_text) as holder:
            holder.execute("SELECT pg_advisory_xact_lock(7)")
            yield
        target.execute("DROP FUNCTION added CASCADE")
    else:
        target.before(
            "INSERT",
            "ledger",
            f"SELECT CASE WHEN NEW.ledger_id = {STUCK_AT} THEN (SELECT COUNT(*) FROM orders a,"
            " orders b, orders c WHERE a.quantity + b.quantity + c.quantity = 0) END",
        )
        yield
        target.execute("DROP TRIGGER added")


def kill_in_the_middle(source: Engine, target: Engine) -> None:
    with stuck_in_the_ledger(target):
        copying = begin_copy(source, target)
        try:
            if isinstance(target, SqliteEngine):
                # A copy refuses a target that this process has open when the copy begins.
                wal = target.path.with_name("orders.db-wal")
                wait_until(lambda: size_of(wal) > WAL_OF_ORDERS_BYTES, "a batch of the orders")
            wait_until(
                lambda: target.counts() == [ORDERS, BATCH_ROWS, 0, 0], "a batch of the ledger"
            )
        finally:
            copying.kill()
            copying.wait()


@promise("one key, one effect")
def test_a_copy_that_was_killed_is_continued_and_has_every_row_once(
    ends: tuple[Engine, Engine],
) -> None:
    source, target = ends
    kill_in_the_middle(source, target)
    done = run_copy(source, target)
    assert done.returncode == 0, done.stderr
    assert f"had {ORDERS + BATCH_ROWS:,} rows" in done.stdout
    assert f"copied {3 * ORDERS - BATCH_ROWS:,} rows" in done.stdout
    assert rows_of(target) == rows_of(source)
    assert findings(target.url) == []


@promise("a key is never forgotten")
def test_no_service_starts_on_a_copy_that_was_killed(ends: tuple[Engine, Engine]) -> None:
    """It would treat the retry of a key that was not copied yet as a new order."""
    source, target = ends
    kill_in_the_middle(source, target)
    with closing(open_store(target.url)) as store:
        with pytest.raises(StoreRefused, match=r"is an unfinished copy.*run `orderapi copy` again"):
            store.prepare()
        with pytest.raises(StoreUnavailable) as failed:
            store.write(lambda tx: tx.probe.touch())
        assert "unfinished copy" in failed.value.reason
        with pytest.raises(StoreUnavailable) as failed:
            store.read(lambda tx: tx.events.last_sequence())
        assert "unfinished copy" in failed.value.reason
    onwards = run_copy(target, source)
    assert onwards.returncode == 2
    assert "unfinished copy" in onwards.stderr
