"""Errors and warnings that a PostgreSQL server gives when a test wants them."""

from collections.abc import Iterator
from contextlib import contextmanager

from tests.support.engines import PostgresEngine


@contextmanager
def raising(
    engine: PostgresEngine,
    sqlstate: str,
    *,
    level: str = "EXCEPTION",
    when: str = "true",
    times: int = 1_000_000,
) -> Iterator[None]:
    """Raise an error, or a notice of another level, with each order for which `when` holds.

    `when` is a condition on the row NEW. A sequence counts the `times`, because a rollback does not
    undo it.
    """
    engine.execute("CREATE SEQUENCE raised")
    condition = f"({when}) AND nextval('raised') <= {times}"
    raise_it = f"RAISE {level} 'made by a test' USING ERRCODE = '{sqlstate}'"
    engine.before("INSERT", "orders", f"IF {condition} THEN {raise_it}; END IF")
    try:
        yield
    finally:
        engine.execute("DROP FUNCTION added CASCADE")
        engine.execute("DROP SEQUENCE raised")


@contextmanager
def warning_with_each_call(engine: PostgresEngine) -> Iterator[None]:
    """Warn with each call that places orders, as a cancelled COMMIT does."""
    ((arguments, result),) = engine.query(
        "SELECT pg_get_function_arguments(oid), pg_get_function_result(oid) FROM pg_proc"
        " WHERE proname = 'place_orders_v1'"
    )
    given = ", ".join(f"${number}" for number in range(1, len(arguments.split(",")) + 1))
    engine.execute("ALTER FUNCTION place_orders_v1 RENAME TO place_quietly")
    engine.execute(
        f"CREATE FUNCTION place_orders_v1({arguments}) RETURNS {result} LANGUAGE plpgsql AS $$"
        f" BEGIN RETURN QUERY SELECT * FROM place_quietly({given});"
        " RAISE WARNING 'made by a test'; END $$"
    )
    try:
        yield
    finally:
        engine.execute("DROP FUNCTION place_orders_v1")
        engine.execute("ALTER FUNCTION place_quietly RENAME TO place_orders_v1")


def waiting_for_locks(engine: PostgresEngine) -> int:
    """Tell how many sessions of the database wait for a lock."""
    ((number,),) = engine.query(
        "SELECT COUNT(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock'"
        " AND datname = current_database()"
    )
    return int(number)


def signal_waiting(engine: PostgresEngine, function: str) -> None:
    """Cancel or terminate the sessions that wait for a lock, as an operator does."""
    engine.query(
        f"SELECT {function}(pid) FROM pg_stat_activity WHERE wait_event_type = 'Lock'"
        " AND datname = current_database()"
    )
